"""Which layers of a network can be cut: accuracy with one channel group cut, at several ratios.

    python recipes/sensitivity.py --out savedmodels/sensitivity

Measures the ResNet-20 teacher of `savedmodels/teachers` on CIFAR-10, as Li et al. (2017), "Pruning filters for
efficient convnets", section 3.2, do with VGG-16: 37 networks on 1,000 validation images, about two minutes on two CPU
cores. The table is printed; a plot and the numbers go into the folder. docs/sensitivity.md has both, and a discussion.
"""

import pathlib

import keras
from command_line import arguments

import tfcompress


def digits_network(data):
    """Returns a small network for the digits, trained for one epoch."""
    (x, y), classes = data.arrays.train, data.classes
    inputs = keras.Input(x.shape[1:])
    z = keras.layers.Conv2D(8, 3, activation="relu", name="conv1")(inputs)
    z = keras.layers.Conv2D(16, 3, activation="relu", name="conv2")(z)
    model = keras.Model(inputs, keras.layers.Dense(classes, name="head")(keras.layers.Flatten()(z)), name="smoke")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(data.preprocess(x), y, batch_size=32, verbose=0)
    return model


FLAGS = {
    "flags": {
        "model": "savedmodels/teachers/resnet20_cifar10.keras",
        "data": "cifar10",
        "keep_ratios": [0.75, 0.5, 0.25],
        "images": {"default": 1000, "help": "number of validation images to measure on"},
        "recalibrate_batches": {"default": 0, "help": "see tfcompress.sensitivity"},
        "out": {"default": "savedmodels/sensitivity", "help": "folder for the plot and the numbers"},
    },
    "smoke": {"data": "digits", "keep_ratios": [0.5], "images": 50},
}


def main():
    args = arguments(__doc__, FLAGS)
    data = tfcompress.data.load(args.data)
    measured = tfcompress.sensitivity(
        digits_network(data) if args.smoke else args.model,
        data,
        keep_ratios=args.keep_ratios,
        images=args.images,
        recalibrate_batches=args.recalibrate_batches,
    )
    measured.summary()
    folder = pathlib.Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    measured.save(folder / "sensitivity.json")
    measured.plot(folder / "sensitivity.png")
    print(f"Plot: {folder / 'sensitivity.png'}")


if __name__ == "__main__":
    main()
