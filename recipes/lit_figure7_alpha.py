"""LIT, Figure 7: accuracy of a distilled student over alpha, the weight of the labels beside the soft targets.

    python recipes/lit_figure7_alpha.py --network resnet --data cifar10
    python recipes/lit_figure7_alpha.py --network resnext --data cifar100

Students of 20 layers learn from a teacher of 110. Alpha is a setting of KD, and was chosen before beta, so the students
are KD's; `--method lit` uses LIT's.

In the paper's figure, which has no table, accuracy depends on alpha, and the best alpha differs between networks; the
paper used 0.95 for all of CIFAR.

Not run at full length here: with the paper's settings (250 or 300 epochs a point) it takes weeks on two CPU cores.
"""

import runner

from tfcompress.methods.distillation import KD, LIT


def students(args, depth):
    """Returns a student for each alpha."""
    method = {"kd": KD, "lit": LIT}[args.method]
    name = f"{args.method.upper()}, {args.network}{depth}"
    return {(name, alpha): (method, {"alpha": alpha}) for alpha in args.alphas}


RECIPE = {
    "flags": runner.LIT_FLAGS
    | {
        "alphas": [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0],
        "method": {"default": "kd", "choices": ("kd", "lit")},
        "out": "savedmodels/lit_figure7",
    },
    "smoke": runner.LIT_SMOKE,
    "model": runner.teacher,
    "runs": runner.students(students),
    "number": "alpha",
    "plot": True,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
