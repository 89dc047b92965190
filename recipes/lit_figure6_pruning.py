"""LIT, Figure 6: ResNets trained with LIT and from scratch, pruned by magnitude; accuracy over size in one plot.

    python recipes/lit_figure6_pruning.py --data cifar10

Students of 20 to 56 layers of a ResNet-110 are pruned in one shot: of each kernel the given share of the smallest
weights becomes zero. Size is that of the weights which are not zero, 4 bytes each. The paper does not say how it
pruned, nor how far; shares are set with --sparsities.

In the paper's figure, which has no table, LIT's networks are Pareto-optimal in accuracy against size; they can be
pruned less than those trained from scratch, and are more accurate.

Not run at full length here: with the paper's settings (200 and 250 epochs a network) it takes months on two CPU cores.
`--epochs-share 0.1 --images 10000 --depths 20` shortens it.
"""

import numpy as np
import runner

from tfcompress.methods.distillation import LIT, Scratch


def prune(model, sparsity):
    """Sets the smallest weights of each layer's kernel to zero, in place: one-shot magnitude pruning.

    Args:
        model: a model of stock Keras layers.
        sparsity: share of the weights of each kernel that become zero. Biases and BatchNormalization do not change.
    """
    for layer in model.layers:
        if getattr(layer, "kernel", None) is not None:
            kernel = np.array(layer.kernel)
            smallest = np.argsort(np.abs(kernel), axis=None, kind="stable")[: round(sparsity * kernel.size)]
            np.put(kernel, smallest, 0)
            layer.kernel.assign(kernel)


def nonzero_bytes(model):
    """Returns the bytes of the weights that are not zero."""
    return sum(np.count_nonzero(weight) * weight.dtype.itemsize for weight in model.get_weights())


def test_accuracy(model, data):
    """Returns the percentage of right answers on the test split, for a dataset in memory."""
    x, y = data.arrays.test
    return 100 * float(np.mean(model.predict(data.preprocess(x), batch_size=250, verbose=0).argmax(-1) == y))


def pruned(results, data, args):
    """Prunes each network to each sparsity: a table, and a plot of accuracy over size."""
    rows, lines = [("", "depth", "sparsity", "bytes", "test accuracy")], {}
    for run, of_run in results.items():
        sizes, accuracies = lines[f"{run.name}, {args.network}{run.number}"] = [], []
        # In this order what is zero already is among the smallest: it is one shot for each.
        for sparsity in sorted(args.sparsities):
            for result in of_run:
                prune(result.model, sparsity)
            size = np.mean([nonzero_bytes(result.model) for result in of_run])
            accuracy = np.mean([test_accuracy(result.model, data) for result in of_run])
            sizes.append(size / 1024)
            accuracies.append(accuracy)
            rows.append((run.name, str(run.number), f"{sparsity:.0%}", f"{size:,.0f}", f"{accuracy:.2f}"))
    runner.show(rows)
    runner.draw(lines, args, "size of the weights that are not zero (KiB)", "test accuracy (%)", x_scale="log")


RECIPE = {
    "flags": runner.LIT_FLAGS
    | {
        "depths": runner.LIT_FLAGS["depths"] | {"default": [20, 32, 44, 56]},
        "sparsities": [0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9],
        "out": "savedmodels/lit_figure6",
    },
    "smoke": runner.LIT_SMOKE,
    "model": runner.teacher,
    "runs": runner.students({"LIT": (LIT, {}), "scratch": (Scratch, {})}),
    "number": "depth",
    "after": pruned,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
