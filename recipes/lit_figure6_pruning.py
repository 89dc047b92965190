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

import lit_common
import numpy as np

from tfcompress.methods.distillation import LIT, Scratch
from tfcompress.report.table import in_columns


def experiments(args):
    """The networks, before they are pruned."""
    return {
        (name, depth): lit_common.published(method, args.network, args, blocks=lit_common.blocks(depth, args))
        for depth in args.depths
        for name, method in (("LIT", LIT), ("scratch", Scratch))
    }


def main():
    parser = lit_common.parser(__doc__, "lit_figure6", depths=(20, 32, 44, 56))
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9])
    args = lit_common.parse(parser)
    data = lit_common.load(args)
    results = lit_common.run(lit_common.teacher(data, args), data, experiments(args), args)
    rows, lines = [("", "depth", "sparsity", "bytes", "test accuracy")], {}
    for (name, depth), found in results.items():
        sizes, accuracies = lines[f"{name}, {args.network}{depth}"] = [], []
        # In this order what is zero already is among the smallest: it is one shot for each.
        for sparsity in sorted(args.sparsities):
            for result in found:
                lit_common.prune(result.model, sparsity)
            size = np.mean([lit_common.nonzero_bytes(result.model) for result in found])
            accuracy = np.mean([lit_common.test_accuracy(result.model, data) for result in found])
            sizes.append(size / 1024)
            accuracies.append(accuracy)
            rows.append((name, str(depth), f"{sparsity:.0%}", f"{size:,.0f}", f"{accuracy:.2f}"))
    lit_common.show(results)
    print("\n".join(in_columns(rows, left=1)))
    lit_common.draw(lines, args, "size of the weights that are not zero (KiB)", "test accuracy (%)", x_scale="log")


if __name__ == "__main__":
    main()
