"""N2N, Tables 1 and 4, Figures 3, 4, 5, 11 and 12: the two stages on each teacher, with and without a limit.

    python recipes/n2n_tables1_4.py --data mnist --network vgg13
    python recipes/n2n_tables1_4.py --data cifar10 --network resnet18
    python recipes/n2n_tables1_4.py --data caltech256 --network resnet18 --folder 256_ObjectCategories
    python recipes/n2n_tables1_4.py --data mnist --network vgg13 --params 20000

The best student of stage 1 is trained fully too, so that one search gives both rows of Table 1. Pictures by
update (the figures; Figure 3 has Conv4 on MNIST besides), and of all students, are beside the run folders. The paper's
Table 1, number of runs not told:

    dataset      teacher                      stage 1                          stages 1 and 2
    MNIST        VGG-13     99.54%  9.4M      99.55%  73K    +0.01%  127x
    CIFAR-10     VGG-19     91.97%  20.2M     92.05%  1.7M   +0.08%  11.8x     91.64%  984K   -0.33%  20.53x
                 ResNet-18  92.01%  11.17M    91.97%  2.12M  -0.04%  5.26x     91.81%  1.00M  -0.2%   11.10x
                 ResNet-34  92.05%  21.28M    93.54%  3.87M  +1.49%  5.5x      92.35%  2.07M  +0.30%  10.2x
    SVHN         ResNet-18  95.24%  11.17M    95.66%  2.24M  +0.42%  4.97x     95.38%  564K   +0.18%  19.8x
    CIFAR-100    ResNet-18  72.22%  11.22M    69.64%  4.76M  -2.58%  2.35x     68.01%  2.42M  -4.21%  4.64x
                 ResNet-34  72.86%  21.33M    70.11%  4.25M  -2.75%  5.02x
    Caltech-256  ResNet-18  47.65%  11.31M    44.71%  3.62M  -2.94%  3.12x

With `--params` the limit is part of the reward (section 3.3.1), by default relaxed over time: a student above it earns
`epsilon (R + 1) - 1`, with epsilon falling from 1 to 0; `--constraint strict` gives it -1 at once, and does not train
it. The finished student meets the limit in any case. The paper's Table 4:

    --params 20000    MNIST     VGG-13  99.54%  9.4M     stages 1 and 2  98.91%  17K   553x
    --params 1000000  CIFAR-10  VGG-19  91.97%  20.2M    stages 1 and 2  90.8%   573K  35x

Not run at full length here. Estimates for a seed: Conv4 on MNIST two or three days on two CPU cores, VGG-13 on MNIST
weeks, every other row months; on one GPU a day or two for CIFAR and SVHN, where building and compiling a thousand
students takes hours of it. `--updates 20 --score-epochs 1 --images 5000 --epochs-share 0.1` shortens it. Caltech-256 is
held in memory, 5 GB.
"""

import n2n_parts
import runner


def runs(args):
    """Returns the search; without a limit also the best student of its first stage, trained fully."""
    if args.params is None:
        both = runner.Run("stages 1 and 2", n2n_parts.search(args), model=args.network)
        return [both, runner.Run("stage 1", of_first_stage, model=args.network, follows=both)]
    method = n2n_parts.search(args, constraint=args.constraint)
    return [runner.Run(f"at most {args.params:,}", method, model=args.network, budget={"params": args.params})]


def of_first_stage(data, args, result):
    """Returns the training of the best student of stage 1, from the weights that it was scored with."""
    del data
    (student,) = (each.model for each in result.candidates if each.origin == "best of removal")
    return n2n_parts.taught(student, args)


RECIPE = {
    "flags": n2n_parts.FLAGS
    | n2n_parts.TEACHER
    | {
        "params": {"default": None, "type": int, "help": "limit of the student's parameters"},
        "constraint": {
            "default": "relaxed",
            "choices": ("relaxed", "strict"),
            "help": "how the limit of --params enters the reward",
        },
        "out": {"default": "runs/n2n_tables1_4"},
    },
    "smoke": n2n_parts.SMOKE | {"out": None},
    "load": n2n_parts.load,
    "model": n2n_parts.teacher,
    "runs": runs,
    "after": n2n_parts.after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
