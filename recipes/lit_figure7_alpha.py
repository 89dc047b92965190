"""LIT, Figure 7: accuracy of a distilled student over alpha, the weight of the labels beside the soft targets.

    python recipes/lit_figure7_alpha.py --network resnet --data cifar10
    python recipes/lit_figure7_alpha.py --network resnext --data cifar100

Students of 20 layers learn from a teacher of 110. Alpha is a setting of KD, and was chosen before beta, so the students
are those of KD; `--method lit` takes LIT's.

In the paper's figure, which has no table, accuracy depends on alpha, and the best alpha differs between networks; 0.95
is what it took for all of CIFAR.

Not run at full length here: with the paper's settings (250 or 300 epochs a point) it takes weeks on two CPU cores.
"""

import lit_common

from tfcompress.methods.distillation import KD, LIT


def experiments(args):
    """A student for each alpha."""
    method = {"kd": KD, "lit": LIT}[args.method]
    return {
        (f"{args.method.upper()}, {args.network}{depth}", alpha): lit_common.published(
            method, args.network, args, blocks=lit_common.blocks(depth, args), alpha=alpha
        )
        for depth in args.depths
        for alpha in args.alphas
    }


def main():
    parser = lit_common.parser(__doc__, "lit_figure7")
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0])
    parser.add_argument("--method", default="kd", choices=("kd", "lit"))
    args = lit_common.parse(parser)
    data = lit_common.load(args)
    results = lit_common.run(lit_common.teacher(data, args), data, experiments(args), args)
    lit_common.show(results, "alpha")
    lit_common.plot(results, args, "alpha")


if __name__ == "__main__":
    main()
