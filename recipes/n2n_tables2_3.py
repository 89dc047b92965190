"""N2N, Tables 2 and 3: its students against pruning and against students designed by hand.

    python recipes/n2n_tables2_3.py --data mnist --network vgg13 --methods pruning --stage removal
    python recipes/n2n_tables2_3.py --data cifar10 --network vgg19 --methods pruning --stage removal
    python recipes/n2n_tables2_3.py --data svhn_cropped --network resnet18 --methods squeezenet
    python recipes/n2n_tables2_3.py --data cifar10 --network resnet18 --methods fitnet4 vgg_small

Pruning is that of Molchanov et al. (docs/methods/taylor.md), the best of five runs. A run ends by the rules of section
4.4.1: before the accuracy falls by more than 1% below that of N2N's student, or with fewer parameters than it. Decided:
these accuracies are on the validation split, and 16 filters are removed in a step, because each step builds and
compiles a network. Students by hand learn from the same teacher by knowledge distillation. The paper's tables, number
of runs unknown:

    Table 2   MNIST, VGG-13        teacher 99.54%  9.4M     pruning     99.12%  162K  58x    N2N 99.55%  73K    127x
              CIFAR-10, VGG-19     teacher 91.97%  20.2M    pruning     91.06%  2.3M  8.7x   N2N 92.05%  1.7M   11.8x
    Table 3   SVHN, ResNet-18      teacher 95.24%  11.17M   SqueezeNet  89.34%  727K  15x    N2N 95.38%  564K   19.8x
              CIFAR-10, ResNet-18  teacher 92.01%  11.17M   FitNet-4    91.33%  1.2M  9.3x   N2N 91.81%  1.00M  11.0x
                                                            VGG-small   83.93%  1.06M 10.5x

Not run at full length here. Estimates for a seed: VGG-13 on MNIST weeks on two CPU cores, the others months; on one GPU
a day or two, most of it N2N's search. `--updates 20 --score-epochs 1 --images 5000 --epochs-share 0.1 --runs 1
--filters 64` shortens it.
"""

import argparse

import keras
import n2n_parts
import networks
import runner

from tfcompress.methods import TaylorPruning

BY_HAND = ("squeezenet", "fitnet4", "vgg_small")


def runs(args):
    """Returns N2N, and after it the methods that it is compared with."""
    if unknown := sorted(set(args.methods) - {"pruning", *BY_HAND}):
        raise argparse.ArgumentTypeError(
            f"--methods: expected some of pruning, {', '.join(BY_HAND)}. Received: {', '.join(unknown)}"
        )
    n2n = runner.Run("n2n", n2n_parts.search(args, stage=args.stage), model=args.network)
    made = {"pruning": pruning} | {name: by_hand(name) for name in BY_HAND}
    return [n2n, *(runner.Run(name, made[name], model=args.network, follows=n2n) for name in args.methods)]


def pruning(data, args, result):
    """Returns pruning by the rules of section 4.4.1, which depend on N2N's student."""
    del data
    return TaylorPruning.as_published(
        n2n_parts.published(args),
        runs=args.runs,
        filters=args.filters,
        updates=args.pruning_updates,
        stop_accuracy=result.after.validation_accuracy - 0.01,
        stop_params=result.after.params,
        **n2n_parts.training(args),
    )


def by_hand(name):
    """Returns the distillation of a network of the zoo, with fresh weights by the seed."""

    def method(data, args, result):
        keras.utils.set_random_seed(result.seed)
        student = networks.thin(data, [4]) if args.smoke else networks.zoo(name, data)
        return n2n_parts.taught(student, args)

    return method


RECIPE = {
    "flags": n2n_parts.FLAGS
    | n2n_parts.TEACHER
    | {
        "stage": {"default": "both", "choices": ("both", "removal")},
        "methods": {"default": ["fitnet4", "vgg_small"], "help": f"pruning, {', '.join(BY_HAND)}"},
        "runs": {"default": 5, "help": "runs of pruning, of which the best is taken"},
        "filters": {"default": 16, "help": "filters pruned in a step"},
        "pruning_updates": {"default": 30, "help": "updates after each step, as in Molchanov's paper"},
        "out": "runs/n2n_tables2_3",
    },
    "smoke": n2n_parts.SMOKE
    | {"methods": ["pruning", "fitnet4"], "stage": "removal", "runs": 1, "filters": 8, "pruning_updates": 1}
    | {"out": None},
    "load": n2n_parts.load,
    "model": n2n_parts.teacher,
    "runs": runs,
    "after": n2n_parts.after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
