"""DARC against replacement without learning and against channel pruning, at equal cost and equal numbers of images.

python recipes/darc_against_baselines.py --out runs/darc_against_baselines
"""

import runner

from tfcompress.methods import DARC, Replaced, Uniform


def methods(args):
    """Each method sees the training images as often."""
    last = {"keep": "last", "batch_size": args.batch_size, "learning_rate": args.learning_rate}
    imitating = last | {"imitation_epochs": 2}
    darc = imitating | {"epochs": args.finetune_epochs, "blocks": args.blocks, "block_epochs": args.block_epochs}
    both = args.blocks * args.block_epochs + args.finetune_epochs
    return {
        "darc_s": DARC(minimize="params", **darc),
        "darc_m": DARC(minimize="macs", **darc),
        "softmax": DARC(weighting="softmax", **darc),
        "all": Replaced(choice="all", replacements=("3x3+1x1",), epochs=both, **imitating),
        "random": Replaced(choice="random", epochs=both, **imitating),
        "knapsack": Replaced(choice="knapsack", epochs=both, **imitating),
        "uniform": Uniform(epochs=both + 2, schedule="cosine", nesterov=True, **last),
    }


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/resnet20_cifar10.keras",
        "data": "cifar10",
        "images": {"default": 4000, "help": "training images, the held-out tenth included"},
        "flops_budget": 0.5,
        "blocks": 5,
        "block_epochs": 2,
        "finetune_epochs": 4,
        "batch_size": 128,
        "learning_rate": 0.01,
        "seeds": [0, 1, 2],
        "methods": ["uniform", "darc_m", "knapsack", "darc_s", "random", "all"],
        "out": None,
    },
    "smoke": {
        "methods": ["uniform", "darc_m", "softmax", "random"],
        "data": "digits",
        "images": 200,
        "seeds": [0],
        "blocks": 1,
        "block_epochs": 1,
        "finetune_epochs": 1,
    },
    "model": runner.from_file,
    "runs": runner.chosen(methods, model="residual"),
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
