"""LIT, Table 3: what becomes of it with one hint, and where the student feeds itself.

    python recipes/lit_table3_ablations.py --network resnet
    python recipes/lit_table3_ablations.py --network resnext

Students of 20 layers learn from a teacher of 110 on CIFAR-10. "One IR" compares what the second of three sections hands
on. The paper reports:

                                          ResNet   ResNeXt
    LIT                                   93.25%   94.72%
    KD                                    92.75%   94.42%
    One IR, teacher input                 92.74%   94.21%
    One IR, no teacher input (FitNets)    92.68%   94.18%
    Multiple IRs, no teacher input        90.42%   91.27%

It does not say which intermediate representation the one is; the middle is Romero et al.'s choice. Stem and classifier
are copied in all rows but KD. FitNets in its own two stages is the method `Hint`, in recipes/lit_against_baselines.py.

Not run at full length here: with the paper's settings (250 or 325 epochs a row) it takes weeks on two CPU cores.
"""

import lit_common

from tfcompress.methods.distillation import KD, LIT


def experiments(args):
    """The rows."""
    rows = {}
    for depth in args.depths:
        student = {"blocks": lit_common.blocks(depth, args)}
        changes = {
            "LIT": {},
            "One IR, teacher input": {"hints": (2,)},
            "One IR, no teacher input (FitNets)": {"hints": (2,), "teacher_input": False},
            "Multiple IRs, no teacher input": {"teacher_input": False},
        }
        rows["KD", depth] = lit_common.published(KD, args.network, args, **student)
        for name, change in changes.items():
            rows[name, depth] = lit_common.published(LIT, args.network, args, **student, **change)
    return rows


def main():
    args = lit_common.parse(lit_common.parser(__doc__, "lit_table3"))
    data = lit_common.load(args)
    results = lit_common.run(lit_common.teacher(data, args), data, experiments(args), args)
    lit_common.show(results)


if __name__ == "__main__":
    main()
