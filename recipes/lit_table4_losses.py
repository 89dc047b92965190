"""LIT, Table 4: how intermediate representations are compared.

    python recipes/lit_table4_losses.py --network resnet
    python recipes/lit_table4_losses.py --network resnext

Students of 20 layers learn from a teacher of 110 on CIFAR-10. The paper reports, over three runs:

                   ResNet          ResNeXt
    L2             93.20 +- 0.04   94.63 +- 0.07
    L1             93.19 +- 0.05   94.62 +- 0.07
    Smoothed L1    93.02 +- 0.06   93.86 +- 0.08

Not run at full length here: with the paper's settings (250 or 325 epochs a run) it takes months on two CPU cores.
"""

import lit_common

from tfcompress.methods.distillation import LIT


def experiments(args):
    """The rows."""
    return {
        (f"LIT with {loss}", depth): lit_common.published(
            LIT, args.network, args, blocks=lit_common.blocks(depth, args), loss=loss
        )
        for depth in args.depths
        for loss in ("l2", "l1", "smooth_l1")
    }


def main():
    args = lit_common.parse(lit_common.parser(__doc__, "lit_table4", seeds=(0, 1, 2)))
    data = lit_common.load(args)
    results = lit_common.run(lit_common.teacher(data, args), data, experiments(args), args)
    lit_common.show(results)


if __name__ == "__main__":
    main()
