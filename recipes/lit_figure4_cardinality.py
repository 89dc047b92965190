"""LIT, Figure 4: ResNeXt students with half of the groups, from scratch, with KD and with LIT.

    python recipes/lit_figure4_cardinality.py --data cifar10

The teacher is a ResNeXt-110 of cardinality 32 trained from scratch; students have cardinality 16, and 20 to 110 layers.
Half of the groups of each grouped convolution are removed; what blocks hand on is as wide as in the teacher.

In the paper's figure, which has no table, LIT is above KD and scratch for every student.

Not run at full length here: with the paper's settings (300 and 325 epochs a network) it takes months on two CPU cores.
`--epochs-share 0.1 --images 10000 --depths 20` shortens it.
"""

import lit_common

from tfcompress.methods.distillation import KD, LIT, Scratch


def experiments(args):
    """The students, all of a lower cardinality."""
    found = {}
    for depth in args.depths:
        student = {"blocks": lit_common.blocks(depth, args), "cardinality": 2 if args.smoke else 16}
        found["scratch", depth] = lit_common.published(Scratch, "resnext", args, **student)
        found["KD", depth] = lit_common.published(KD, "resnext", args, **student)
        found["LIT", depth] = lit_common.published(LIT, "resnext with a lower cardinality", args, **student)
    return found


def main():
    depths = (20, 32, 44, 56, 110)
    args = lit_common.parse(lit_common.parser(__doc__, "lit_figure4", networks=("resnext",), depths=depths))
    data = lit_common.load(args)
    results = lit_common.run(lit_common.teacher(data, args), data, experiments(args), args)
    lit_common.show(results)
    lit_common.plot(results, args)


if __name__ == "__main__":
    main()
