"""Quickstart: a small residual network on handwritten digits, compressed to half its FLOPs and exported.

    python recipes/quickstart.py

Trains a ResNet-20 on scikit-learn's 1,438 training images of digits, compresses it with RLAL, writes .keras,
SavedModel and TFLite files (float32 and int8), classifies the test images with the int8 file, and prints what
changed. A plot of the run and a page with all of it go beside the files. A few minutes on two CPU cores.
"""

import pathlib

import tfcompress.methods  # first: it loads TensorFlow without TensorFlow's lines on drivers and processors

# isort: split
import keras
import numpy as np
from command_line import arguments

from tfcompress.export import run_tflite
from tfcompress.methods import RLAL


def trained_network(data, epochs):
    """Returns a ResNet-20 trained with plain Keras on the training images."""
    (x, y), classes = data.arrays.train, data.classes
    model = tfcompress.zoo.resnet20(x.shape[1:], classes)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    decay = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 * (1 - epoch / epochs))
    model.fit(data.preprocess(x), y, batch_size=64, epochs=epochs, callbacks=[decay], verbose=2)
    return model


FLAGS = {
    "flags": {
        "epochs": {"default": 20, "help": "epochs of the network's own training"},
        "episodes": {"default": None, "type": int, "help": "episodes of RLAL's search, if given"},
        "finetune_epochs": 30,
        "out": "savedmodels/quickstart",
    },
    "smoke": {"epochs": 1, "episodes": 10, "finetune_epochs": 4},
}


def main():
    args = arguments(__doc__, FLAGS)
    keras.utils.set_random_seed(0)
    data = tfcompress.data.load("digits", images=200 if args.smoke else None)
    model = trained_network(data, args.epochs)
    method = RLAL(epochs=args.finetune_epochs, episodes=args.episodes, batch_size=64)
    result = tfcompress.compress(model, method, data, flops_budget=0.5)

    folder = pathlib.Path(args.out)
    report = result.export(folder, quantize=[None, "int8"])
    result.plot("history", folder / "history.png")
    result.report(folder / "report.html")

    x, y = data.arrays.test
    x = data.preprocess(x)
    in_keras = np.mean(result.model.predict(x, verbose=0).argmax(-1) == y)
    (outputs,) = run_tflite(folder / "model_int8.tflite", x).values()
    in_int8 = np.mean(outputs.argmax(-1) == y)
    print()
    result.summary()
    print()
    print(report.summary())
    print(f"Test accuracy of the Keras model {in_keras:.4f}, of the int8 TFLite file {in_int8:.4f}")
    print(f"Plot: {folder / 'history.png'}, and a page with all of the run: {folder / 'report.html'}")


if __name__ == "__main__":
    main()
