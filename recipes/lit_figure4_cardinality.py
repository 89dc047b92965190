"""LIT, Figure 4: ResNeXt students with half of the groups, from scratch, with KD and with LIT.

    python recipes/lit_figure4_cardinality.py --data cifar10

The teacher is a ResNeXt-110 of cardinality 32 trained from scratch; students have cardinality 16, and 20 to 110 layers.
Half of the groups of each grouped convolution are removed; the outputs of blocks are as wide as in the teacher.

In the paper's figure, which has no table, LIT is above KD and scratch for every student.

Not run at full length here: with the paper's settings (300 and 325 epochs a network) it takes months on two CPU cores.
`--epochs-share 0.1 --images 10000 --depths 20` shortens it.
"""

import runner

from tfcompress.methods.distillation import KD, LIT, Scratch


def students(args, depth):
    """Returns the students, all with a lower cardinality."""
    del depth
    half = {"cardinality": 2 if args.smoke else 16}
    return {
        "scratch": (Scratch, half),
        "KD": (KD, half),
        "LIT": (LIT, half | {"as": "resnext with a lower cardinality"}),
    }


RECIPE = {
    "flags": runner.LIT_FLAGS
    | {
        "network": {"default": "resnext", "choices": ("resnext",)},
        "depths": runner.LIT_FLAGS["depths"] | {"default": [20, 32, 44, 56, 110]},
        "out": "savedmodels/lit_figure4",
    },
    "smoke": runner.LIT_SMOKE,
    "model": runner.teacher,
    "runs": runner.students(students),
    "number": "depth",
    "plot": True,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
