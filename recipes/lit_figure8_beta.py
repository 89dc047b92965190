"""LIT, Figure 8: accuracy of LIT's student over beta, the weight of KD beside the intermediate representations.

    python recipes/lit_figure8_beta.py --network resnet
    python recipes/lit_figure8_beta.py --network resnext

Students of 20 layers learn from a teacher of 110 on CIFAR-10. Beta = 1 is only KD, with KD's own schedule. Beta = 0
trains sections only on intermediate representations, and fine-tunes with KD as the others do.

In the paper's figure, which has no table, both ends are below the values between them; the best beta is lower for the
more accurate network (0.75 for ResNet, 0.5 for ResNeXt).

Not run at full length here: with the paper's settings (250 or 325 epochs a point) it takes weeks on two CPU cores.
"""

import runner

from tfcompress.methods.distillation import KD, LIT


def students(args, depth):
    """Returns a student for each beta; beta = 1 is KD."""
    name = f"LIT, {args.network}{depth}"
    return {(name, beta): (KD, {}) if beta == 1 else (LIT, {"beta": beta}) for beta in args.betas}


RECIPE = {
    "flags": runner.LIT_FLAGS | {"betas": [0.0, 0.25, 0.5, 0.75, 1.0], "out": "savedmodels/lit_figure8"},
    "smoke": runner.LIT_SMOKE,
    "model": runner.teacher,
    "runs": runner.students(students),
    "number": "beta",
    "plot": True,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
