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

import runner

from tfcompress.methods.distillation import LIT


def students(args, depth):
    """Returns the rows."""
    del depth
    precisions = (None, args.precision)
    return {f"LIT in {name or 'float32'}": (LIT, {"mixed_precision": name}) for name in precisions}


RECIPE = {
    "flags": runner.LIT_FLAGS
    | {
        "seeds": [0, 1, 2],
        "precision": {"default": "mixed_float16", "choices": ("mixed_float16", "mixed_bfloat16")},
        "out": "savedmodels/lit_table5",
    },
    "smoke": runner.LIT_SMOKE,
    "model": runner.teacher,
    "runs": runner.students(students),
    "number": "depth",
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
