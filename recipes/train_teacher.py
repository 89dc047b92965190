"""Trains a network of the zoo on a dataset by name, and writes the model and its card to savedmodels/teachers/.

    python recipes/train_teacher.py --model resnet20 --data cifar10 --epochs 12
    python recipes/train_teacher.py --model mobilenet_v2 --arguments width=0.5 --data cifar10 --epochs 40

Plain Keras: with KERAS_BACKEND=jax it trains on a GPU as it is (`--data images.npz` with arrays x_train, y_train,
x_test, y_test needs neither tensorflow-datasets nor TensorFlow there). One-cycle schedule: SGD with Nesterov momentum
0.9, learning rate up linearly to its peak for the first 30% of the steps (`--warmup`), then down to zero along a
cosine, L2 2.5e-4, flip and padded crop. The test split is read once, at the end, for the card.

On a GPU `--on-device` keeps the images in the device's memory and changes them there, and `--precision mixed_bfloat16`
computes in half precision; the model that is written, and whose accuracy the card gives, is in float32 all the same.
"""

import json
import math
import pathlib
import platform
import sys
import time

import keras
import numpy as np
from command_line import arguments
from images import of_half_size

import tfcompress.zoo
from tfcompress.data.batches.augment import flip_and_crop
from tfcompress.data.batches.epochs import ArrayBatches
from tfcompress.data.batches.scaling import to_unit_interval
from tfcompress.data.named.loading import NamedArrays, load_arrays


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from 0 to `peak` in the first `warmup` share of `steps`, then a half cosine to 0."""

    def __init__(self, peak, steps, warmup=0.3):
        self.peak, self.steps, self.warmup = peak, steps, warmup

    def __call__(self, step):
        done = keras.ops.cast(step, "float32") / self.steps
        up = done / self.warmup
        down = 0.5 * (1 + keras.ops.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))
        return self.peak * keras.ops.where(done < self.warmup, up, down)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup}


class OnDevice(keras.Model):
    """A network on images in the device's memory: it reads their numbers, and augments them while it trains.

    Args:
        network: network for float32 images in [0, 1].
        images: uint8 `[images, height, width, channels]`.
        augment: whether training images are mirrored and cropped, like `flip_and_crop` does in numpy.
        seed: random seed of the augmentation.
    """

    def __init__(self, network, images, augment, seed, padding=4):
        super().__init__()
        self.network, self.augment, self.padding = network, augment, padding
        self.seeds = keras.random.SeedGenerator(seed)
        self.images = self.add_weight(shape=images.shape, dtype="uint8", initializer="zeros", trainable=False)
        self.images.assign(images)

    def call(self, numbers, training=False):
        """Returns logits of the images with these numbers, int `[batch]`."""
        images = keras.ops.take(self.images, numbers, axis=0)
        if training and self.augment:
            images = self.flip_and_crop(images)
        return self.network(keras.ops.cast(images, "float32") / 255, training=training)

    def flip_and_crop(self, images):
        """Mirrors each image with probability 1/2 and crops it at random after padding with zeros."""
        batch, (height, width, _) = keras.ops.shape(images)[0], images.shape[1:]
        edges = (self.padding, self.padding)
        padded = keras.ops.pad(images, ((0, 0), edges, edges, (0, 0)))

        def integers(end):
            return keras.random.randint((batch, 1), 0, end, seed=self.seeds)

        rows = integers(2 * self.padding + 1) + np.arange(height, dtype="int32")
        left, mirrored = integers(2 * self.padding + 1), integers(2)
        order = np.arange(width, dtype="int32")
        columns = left + keras.ops.where(mirrored == 1, order[::-1], order)
        cropped = keras.ops.take_along_axis(padded, rows[:, :, None, None], axis=1)
        return keras.ops.take_along_axis(cropped, columns[:, None, :, None], axis=2)


def set_l2(model, strength):
    """Adds `strength * ||kernel||^2` to the loss for every kernel, or removes it if `strength` is None."""
    regularizer = None if strength is None else keras.regularizers.L2(strength)
    for layer in model.layers:
        for attribute in ("kernel_regularizer", "depthwise_regularizer"):
            if hasattr(layer, attribute):
                setattr(layer, attribute, regularizer)
                layer.kernel.regularizer = regularizer


def load(data, images, half=False):
    """Loads the dataset `data` (a name, or the path of an .npz file), with at most `images` training images."""
    if data.endswith(".npz"):
        with np.load(data) as file:
            train, test = (file["x_train"], file["y_train"].ravel()), (file["x_test"], file["y_test"].ravel())
        arrays = NamedArrays(pathlib.Path(data).stem, train, test, int(train[1].max()) + 1)
    else:
        arrays = load_arrays(data)
    arrays = of_half_size(arrays) if half else arrays
    x, y = arrays.train
    return (x[:images], y[:images]), arrays.test, arrays.classes


def argument(text):
    """Converts `"width=0.5"` to `("width", 0.5)`."""
    name, _, value = text.partition("=")
    return name, json.loads(value)


def words(settings):
    """Returns settings as on the command line."""
    for key, value in settings.items():
        if value is None or value is False:
            continue
        yield f"--{key.replace('_', '-')}"
        if isinstance(value, dict):
            yield from (f"{name}={json.dumps(each)}" for name, each in value.items())
        elif value is not True:
            yield str(value)


def hardware():
    """Returns the machine, and the accelerator if JAX runs on one."""
    text = f"{platform.system()} {platform.machine()}"
    return text if "jax" not in sys.modules else f"{text}, {sys.modules['jax'].devices()[0].device_kind}"


FLAGS = {
    "flags": {
        "model": {"default": "resnet20", "choices": sorted(tfcompress.zoo.__all__)},
        "arguments": {"default": None, "type": argument, "nargs": "+", "help": "arguments of the network: name=number"},
        "data": {"default": "cifar10", "help": "name of a dataset, or path of an .npz file"},
        "epochs": 12,
        "batch_size": 128,
        "learning_rate": {"default": 0.4, "help": "peak of the one-cycle schedule"},
        "warmup": {"default": 0.3, "help": "share of the steps until the peak"},
        "l2": 2.5e-4,
        "images": None,
        "half": {"default": False, "help": "average each 2x2 pixels of the images"},
        "precision": {"default": "float32", "help": "dtype policy of Keras to train in"},
        "on_device": {"default": False, "help": "keep the images in the device's memory"},
        "seed": 0,
        "name": {"default": None, "help": "name of the files; by default network and dataset"},
        "out": {"default": "savedmodels/teachers", "help": "folder for the model and its card"},
    },
    "smoke": {"data": "digits", "epochs": 1, "images": 256},
}


def main():
    args = arguments(__doc__, FLAGS)
    args.arguments = dict(args.arguments) if args.arguments else None
    settings = {name: getattr(args, name) for name in FLAGS["flags"] if name not in ("out", "name")}
    keras.utils.set_random_seed(args.seed)
    (x, y), test, classes = load(args.data, args.images, args.half)

    def network(precision):
        keras.config.set_dtype_policy(precision)
        build = getattr(tfcompress.zoo, args.model)
        try:
            return build(input_shape=x.shape[1:], classes=classes, **(args.arguments or {}))
        finally:
            keras.config.set_dtype_policy("float32")

    model = network("float32")
    trained = model if args.precision == "float32" else network(args.precision)
    set_l2(trained, args.l2)
    # Digits are read by where their strokes are: they are neither mirrored nor cropped.
    augment = pathlib.Path(args.data).stem not in ("digits", "mnist")
    if args.on_device:
        train = ArrayBatches(np.arange(len(x), dtype="int32"), y, args.batch_size, shuffle=True, seed=args.seed)
        fitted = OnDevice(trained, x, augment, args.seed)
    else:
        change = flip_and_crop if augment else None
        train = ArrayBatches(
            x, y, args.batch_size, shuffle=True, seed=args.seed, preprocess=to_unit_interval, augment=change
        )
        fitted = trained
    schedule = OneCycle(args.learning_rate, args.epochs * len(train), args.warmup)
    fitted.compile(
        keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    start = time.time()
    history = fitted.fit(train, epochs=args.epochs, verbose=2)
    minutes = (time.time() - start) / 60

    # Compiled anew without what only this training needed, so that the file loads where only Keras is installed.
    set_l2(trained, None)
    if trained is not model:
        model.set_weights(trained.get_weights())
    model.compile(
        keras.optimizers.SGD(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    data = pathlib.Path(args.data).stem + ("_half" if args.half else "")
    card = {
        "model": model.name,
        "data": data,
        "command": " ".join(("python recipes/train_teacher.py", *words(settings))),
        "settings": settings,
        "input": f"float32 {list(model.input_shape)}, pixels in [0, 1]",
        "output": f"logits {list(model.output_shape)}",
        "parameters": model.count_params(),
        "train_images": len(x),
        "train_accuracy_last_epoch": round(float(history.history["accuracy"][-1]), 4),
        "minutes": round(minutes, 1),
        "keras": keras.__version__,
        "backend": f"{keras.backend.backend()} {sys.modules[keras.backend.backend()].__version__}",
        "machine": hardware(),
    }
    if test is not None:
        card["test_images"] = len(test[0])
        results = model.evaluate(ArrayBatches(*test, 500, preprocess=to_unit_interval), verbose=0, return_dict=True)
        card["test_accuracy"] = round(float(results["accuracy"]), 4)
    folder = pathlib.Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    name = args.name or f"{model.name}_{data}"
    temporary = folder / f"{name}.part.keras"
    model.save(temporary)
    temporary.replace(folder / f"{name}.keras")
    (folder / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    main()
