"""LIT, Figure 8: accuracy of LIT's student over beta, the weight of KD beside the intermediate representations.

    python recipes/lit_figure8_beta.py --network resnet
    python recipes/lit_figure8_beta.py --network resnext

Students of 20 layers learn from a teacher of 110 on CIFAR-10. Beta = 1 is KD alone, with KD's own schedule. Beta = 0
trains sections on intermediate representations alone, and fine-tunes with KD as the others do.

In the paper's figure, which has no table, both ends are below what lies between; the best beta is lower for the more
accurate network (0.75 for ResNet, 0.5 for ResNeXt).

Not run at full length here: with the paper's settings (250 or 325 epochs a point) it takes weeks on two CPU cores.
"""

import lit_common

from tfcompress.methods.distillation import KD, LIT


def experiments(args):
    """A student for each beta."""
    found = {}
    for depth in args.depths:
        for beta in args.betas:
            student = {"blocks": lit_common.blocks(depth, args)}
            if beta == 1:
                method = lit_common.published(KD, args.network, args, **student)
            else:
                method = lit_common.published(LIT, args.network, args, **student, beta=beta)
            found[f"LIT, {args.network}{depth}", beta] = method
    return found


def main():
    parser = lit_common.parser(__doc__, "lit_figure8")
    parser.add_argument("--betas", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    args = lit_common.parse(parser)
    data = lit_common.load(args)
    results = lit_common.run(lit_common.teacher(data, args), data, experiments(args), args)
    lit_common.show(results, "beta")
    lit_common.plot(results, args, "beta")


if __name__ == "__main__":
    main()
