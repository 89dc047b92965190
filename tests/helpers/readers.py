"""What the first pages take for granted: a trained model, photos, sets by name; and runs that are short whatever they say."""

import contextlib
import dataclasses
import pathlib
from unittest import mock

import keras
import numpy as np
import tensorflow_datasets as tfds
import tiny_texts

import tfcompress
from tfcompress.benchmarking import comparing, tensorflow_process
from tfcompress.methods import Uniform, registry

CLASSES, IMAGES = 10, 60
# At most so much of each setting.
_AT_MOST = {
    "epochs": 1,
    "finetune_epochs": 1,
    "episodes": 3,
    "local_search": 1,
    "tries": 4,
    "runs": 1,
    "updates": 1,
}


@contextlib.contextmanager
def sets_of(folder):
    """Sets of tensorflow-datasets lie in `folder`; those of images that do not are made of noise."""
    whole, begun = tfds.builder, set()

    def builder(name, data_dir=None):
        named = whole(name, data_dir=folder)
        features = named.info.features
        if name not in begun and not pathlib.Path(named.data_dir).exists() and "image" in features:
            begun.add(name)  # what prepares it asks for a builder again
            draw = np.random.default_rng(0)
            shape = [size or 8 for size in features["image"].shape]
            samples = [
                dict.fromkeys(features, "")
                | {"image": draw.integers(0, 256, shape, "uint8"), "label": n % features["label"].num_classes}
                for n in range(IMAGES)
            ]
            tiny_texts.prepare(name, {"train": samples, "test": samples[:20]}, folder)
            named = whole(name, data_dir=folder)
        return named

    with mock.patch.object(tfds, "builder", builder):
        yield


def _shortened(method_by_name):
    def shortened(*args, **settings):
        method = method_by_name(*args, **settings)
        long = {
            name: most
            for name, most in _AT_MOST.items()
            if isinstance(value := getattr(method, name, None), int) and value > most
        }
        for name in ("episodes", "local_search"):
            if getattr(method, name, 0) is None:  # as many as the network asks for, in each of which an agent learns
                long[name] = _AT_MOST[name]
        if getattr(method, "joint", False) is None:
            long["joint"] = False  # joint training takes four epochs, and an agent that learns
        return dataclasses.replace(method, **long)

    return shortened


def short_methods():
    """`compress` trains and searches for a few epochs and episodes, whatever the method says."""
    return mock.patch("tfcompress.flow.stages.method_by_name", _shortened(registry.method_by_name))


def short_measurements():
    """`benchmark` measures for a moment, and Keras files and SavedModels in this process, which has TensorFlow already."""
    whole = comparing._in_process

    def short(module, job):
        job = dataclasses.replace(job, runs=2, seconds=0.05)
        return whole(module, job) if job.kind == "tflite" else tensorflow_process.measure(job)

    return mock.patch.object(comparing, "_in_process", short)


@contextlib.contextmanager
def folder_of_a_reader(finished=()):
    """The current folder has a model and photos; a method is short however long it is asked to train.

    Args:
        finished: run folders that are there.

    Yields:
        `model` and `data`, as a page names them.
    """
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 3))
    for number, filters in enumerate((6, 8)):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    outputs = keras.layers.Dense(CLASSES, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs, name="mobilenet_of_a_reader")  # so that its scaling is known by name
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.save("model.keras")
    draw = np.random.default_rng(0)
    for number in range(CLASSES):
        folder = pathlib.Path("photos", f"class{number}")
        folder.mkdir(parents=True)
        for image in range(4):
            keras.utils.save_img(folder / f"{image}.png", draw.integers(0, 256, (8, 8, 3)), scale=False)
    data = draw.random((IMAGES, 8, 8, 3), "float32"), np.arange(IMAGES) % CLASSES
    for run_dir in finished:
        tfcompress.compress(model, Uniform(epochs=1), data, flops_budget=0.5, run_dir=run_dir, verbose=0)
    with sets_of(pathlib.Path("sets").resolve()), short_methods(), short_measurements():
        yield {"model": model, "data": data}
