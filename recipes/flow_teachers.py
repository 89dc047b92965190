"""One flow of LIT and Uniform: against each alone, and with another teacher in its second stage.

    python recipes/flow_teachers.py

A network of four residual blocks is trained on 1,000 digits and brought to 15% of its MACs:

    uniform             by Uniform alone
    lit                 by LIT alone, to the part of the budget that the first stage of the flow has
    flow                LIT, then Uniform, which is taught by the network itself, as in every flow
    by the last stage   the same in two calls: Uniform is taught by the student of LIT

Test accuracy in percent, means over seeds 0 to 4 of the runs; one network for all (tensorflow 2.21.0, keras 3.15.1, two
cores of a loaded x86-64 machine, about ten minutes):

                           MACs  accuracy   +-                               runs
    before              670,584     95.54
    uniform              95,090     70.53  2.91  75.21, 66.85, 72.14, 69.92, 68.52
    lit                 172,920     90.47  1.88  89.97, 89.97, 92.76, 92.20, 87.47
    flow                 98,586     92.70  1.55  94.15, 90.53, 94.71, 91.64, 92.48
    by the last stage    98,586     90.64  1.87  90.53, 91.36, 87.19, 92.76, 91.36
"""

import keras
import networks
import runner

import tfcompress
from tfcompress.methods import LIT, Uniform

_SIZE, _CLASSES, _WIDTH = (8, 8, 1), 10, 12


def network():
    """Returns the network, not trained."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(_SIZE, name="image")
    x = keras.layers.Conv2D(_WIDTH, 3, padding="same", use_bias=False, name="stem")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    for number in range(1, 5):
        y = keras.layers.Conv2D(_WIDTH, 3, padding="same", use_bias=False, name=f"block{number}_conv1")(x)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
        x = keras.layers.Add()([x, keras.layers.Conv2D(_WIDTH, 3, padding="same", name=f"block{number}_conv2")(y)])
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    model = keras.Model(inputs, keras.layers.Dense(_CLASSES, "softmax", name="head")(x), name="digits")
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(name, data, args):
    """Returns the network, trained on the data; with `--smoke` a tiny one that is not."""
    del name
    if args.smoke:
        return networks.tiny("residual", data)
    model, (x, y) = network(), data.arrays.train
    model.fit(data.preprocess(x), y, batch_size=32, epochs=args.teacher_epochs, verbose=2)
    return model


def runs(args):
    """Returns the four runs; budgets of the second call are absolute, as those of a flow are."""
    total = tfcompress.cost(network()).macs
    lit = LIT(epochs=args.epochs, finetune_epochs=args.epochs, batch_size=32)
    uniform = Uniform(epochs=args.epochs, batch_size=32)
    first = runner.Run("lit", lit, flops_budget=args.flops_budget**0.5)
    last = {"flops_budget": 2 * int(args.flops_budget * total)}
    return [
        runner.Run("uniform", uniform),
        first,
        runner.Run("flow", [lit, uniform]),
        runner.Run("by the last stage", uniform, model=first, **last),
    ]


RECIPE = {
    "flags": {
        "data": "digits",
        "images": 1000,
        "flops_budget": 0.15,
        "epochs": 6,
        "teacher_epochs": {"default": 15, "help": "epochs of training the network"},
        "seeds": [0, 1, 2, 3, 4],
        "out": None,
    },
    "smoke": {"images": 80, "flops_budget": 0.5, "epochs": 1, "seeds": [0]},
    "model": trained,
    "runs": runs,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
