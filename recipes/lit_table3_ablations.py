"""LIT, Table 3: the results with only one hint, and with a student that reads its own outputs.

    python recipes/lit_table3_ablations.py --network resnet
    python recipes/lit_table3_ablations.py --network resnext

Students of 20 layers learn from a teacher of 110 on CIFAR-10. "One IR" compares the output of the second of three
sections. The paper reports:

                                          ResNet   ResNeXt
    LIT                                   93.25%   94.72%
    KD                                    92.75%   94.42%
    One IR, teacher input                 92.74%   94.21%
    One IR, no teacher input (FitNets)    92.68%   94.18%
    Multiple IRs, no teacher input        90.42%   91.27%

The paper does not say which intermediate representation the single one is; the middle is Romero et al.'s choice. Stem
and classifier are copied in all rows but KD. FitNets in its own two stages is the method `Hint`, in
recipes/lit_against_baselines.py.

Not run at full length here: with the paper's settings (250 or 325 epochs a row) it takes weeks on two CPU cores.
"""

import runner

from tfcompress.methods.distillation import KD, LIT

ROWS = {
    "KD": (KD, {}),
    "LIT": (LIT, {}),
    "One IR, teacher input": (LIT, {"hints": (2,)}),
    "One IR, no teacher input (FitNets)": (LIT, {"hints": (2,), "teacher_input": False}),
    "Multiple IRs, no teacher input": (LIT, {"teacher_input": False}),
}

RECIPE = {
    "flags": runner.LIT_FLAGS | {"out": "savedmodels/lit_table3"},
    "smoke": runner.LIT_SMOKE,
    "model": runner.teacher,
    "runs": runner.students(ROWS),
    "number": "depth",
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
