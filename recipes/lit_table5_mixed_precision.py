"""LIT, Table 5: training in mixed precision.

    python recipes/lit_table5_mixed_precision.py --network resnet
    python recipes/lit_table5_mixed_precision.py --network resnext

Students of 20 layers learn from a teacher of 110 on CIFAR-10, both computing in float16 in the second row; weights stay
float32, and the loss is scaled. The paper reports, over three runs:

             ResNet          ResNeXt
    fp32     93.20 +- 0.04   94.63 +- 0.07
    Mixed    93.17 +- 0.07   94.57 +- 0.10

`--precision mixed_bfloat16` is the one for processors; there float16 is slow.

Not run at full length here: with the paper's settings (250 or 325 epochs a run) it takes months on two CPU cores.
"""

import lit_common

from tfcompress.methods.distillation import LIT


def experiments(args):
    """The rows."""
    return {
        (f"LIT in {precision or 'float32'}", depth): lit_common.published(
            LIT, args.network, args, blocks=lit_common.blocks(depth, args), mixed_precision=precision
        )
        for depth in args.depths
        for precision in (None, args.precision)
    }


def main():
    parser = lit_common.parser(__doc__, "lit_table5", seeds=(0, 1, 2))
    parser.add_argument("--precision", default="mixed_float16", choices=("mixed_float16", "mixed_bfloat16"))
    args = lit_common.parse(parser)
    data = lit_common.load(args)
    results = lit_common.run(lit_common.teacher(data, args), data, experiments(args), args)
    lit_common.show(results)


if __name__ == "__main__":
    main()
