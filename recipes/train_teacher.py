"""Trains a network of the zoo on a dataset by name, and writes the model and its card to savedmodels/teachers/.

    python recipes/train_teacher.py --model resnet20 --data cifar10 --epochs 12

Plain Keras: with KERAS_BACKEND=jax it trains on a GPU as it is (`--data images.npz` with arrays x_train, y_train,
x_test, y_test needs neither tensorflow-datasets nor TensorFlow there). One-cycle schedule: SGD with Nesterov momentum
0.9, learning rate up linearly to its peak for the first 30% of the steps, then down to zero along a cosine, L2 2.5e-4,
flip and padded crop. The test split is read once, at the end, for the card.
"""

import json
import math
import pathlib
import platform
import time

import keras
import numpy as np
from command_line import arguments

import tfcompress.zoo
from tfcompress.data.batches.augment import flip_and_crop
from tfcompress.data.batches.epochs import ArrayBatches
from tfcompress.data.named.loading import NamedArrays, load_arrays, to_unit_interval


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


def set_l2(model, strength):
    """Puts `strength * ||kernel||^2` into the loss for every kernel, or takes it out again where `strength` is None."""
    regularizer = None if strength is None else keras.regularizers.L2(strength)
    for layer in model.layers:
        for attribute in ("kernel_regularizer", "depthwise_regularizer"):
            if hasattr(layer, attribute):
                setattr(layer, attribute, regularizer)
                layer.kernel.regularizer = regularizer


def load(data, images):
    """The dataset `data` (a name, or the path of an .npz file), with at most `images` training images."""
    if data.endswith(".npz"):
        with np.load(data) as file:
            train, test = (file["x_train"], file["y_train"].ravel()), (file["x_test"], file["y_test"].ravel())
        arrays = NamedArrays(pathlib.Path(data).stem, train, test, int(train[1].max()) + 1)
    else:
        arrays = load_arrays(data)
    x, y = arrays.train
    return (x[:images], y[:images]), arrays.test, arrays.classes


FLAGS = {
    "flags": {
        "model": {"default": "resnet20", "choices": sorted(tfcompress.zoo.__all__)},
        "data": {"default": "cifar10", "help": "name of a dataset, or path of an .npz file"},
        "epochs": 12,
        "batch_size": 128,
        "learning_rate": {"default": 0.4, "help": "peak of the one-cycle schedule"},
        "l2": 2.5e-4,
        "images": None,
        "seed": 0,
        "out": {"default": "savedmodels/teachers", "help": "folder of the model and its card"},
    },
    "smoke": {"data": "digits", "epochs": 1, "images": 256},
}


def main():
    args = arguments(__doc__, FLAGS)
    settings = {name: getattr(args, name) for name in FLAGS["flags"] if name != "out"}
    keras.utils.set_random_seed(args.seed)
    (x, y), test, classes = load(args.data, args.images)
    # Digits are read by where their strokes are: they are neither mirrored nor cropped.
    augment = None if args.data in ("digits", "mnist") else flip_and_crop
    train = ArrayBatches(
        x, y, args.batch_size, shuffle=True, seed=args.seed, preprocess=to_unit_interval, augment=augment
    )
    model = getattr(tfcompress.zoo, args.model)(input_shape=x.shape[1:], classes=classes)
    set_l2(model, args.l2)
    model.compile(
        keras.optimizers.SGD(OneCycle(args.learning_rate, args.epochs * len(train)), momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    start = time.time()
    history = model.fit(train, epochs=args.epochs, verbose=2)
    minutes = (time.time() - start) / 60

    # Compiled anew without what only this training needed, so that the file loads where only Keras is installed.
    set_l2(model, None)
    model.compile(
        keras.optimizers.SGD(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    card = {
        "model": args.model,
        "data": args.data,
        "command": "python recipes/train_teacher.py "
        + " ".join(f"--{key.replace('_', '-')} {value}" for key, value in settings.items() if value is not None),
        "settings": settings,
        "input": f"float32 {list(model.input_shape)}, pixels in [0, 1]",
        "output": f"logits {list(model.output_shape)}",
        "train_images": len(x),
        "train_accuracy_last_epoch": round(float(history.history["accuracy"][-1]), 4),
        "minutes": round(minutes, 1),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    if test is not None:
        card["test_images"] = len(test[0])
        results = model.evaluate(ArrayBatches(*test, 500, preprocess=to_unit_interval), verbose=0, return_dict=True)
        card["test_accuracy"] = round(float(results["accuracy"]), 4)
    folder = pathlib.Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{args.model}_{pathlib.Path(args.data).stem}"
    temporary = folder / f"{name}.part.keras"
    model.save(temporary)
    temporary.replace(folder / f"{name}.keras")
    (folder / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    main()
