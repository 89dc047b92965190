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

import runner

from tfcompress.methods.distillation import LIT

RECIPE = {
    "flags": runner.LIT_FLAGS | {"seeds": [0, 1, 2], "out": "savedmodels/lit_table4"},
    "smoke": runner.LIT_SMOKE,
    "model": runner.teacher,
    "runs": runner.students({f"LIT with {loss}": (LIT, {"loss": loss}) for loss in ("l2", "l1", "smooth_l1")}),
    "number": "depth",
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
