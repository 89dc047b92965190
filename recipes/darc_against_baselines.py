"""DARC against replacement without learning and against channel pruning, at equal cost and equal numbers of images.

    python recipes/darc_against_baselines.py --out runs/darc_against_baselines

A ResNet-20 (savedmodels/teachers/resnet20_cifar10.keras) is brought to half its MACs with a schedule that fits two CPU
cores: 4,000 of the training images (400 of them held out), 2 epochs of imitation, at most 5 blocks of 2 epochs of joint
training and 4 of fine-tuning; the others fine-tune for as many epochs. darc_m minimizes MACs, darc_s parameters. The
test split is read once for each run. One seed of three was run, and not all methods:

    method    MACs   parameters  test accuracy, seed 0   minutes
    (before)  100%   100%        88.27
    uniform   50.0%  51.3%       82.90                   4.7
    knapsack  49.9%  41.3%       82.95                   6.6
    darc_m    45.7%  60.5%       82.66                   7.9
    darc_s    46.9%  19.3%       77.12                   10.8

(tensorflow 2.21.0, keras 3.15.1, two busy CPU cores of an x86-64 machine, one thread. Of each the last snapshot alone
is within half the MACs; darc_s, whose penalty counts parameters, took it by the choice that gives up the least alpha.)

    snapshots of darc_m, MACs        94.8%  90.0%  55.5%  45.7%          validation accuracy (89.5 before)
                                     89.00  88.25  82.25  82.00
    snapshots of darc_s, parameters  75.9%  52.0%  34.1%  25.1%  19.3%
                                     88.25  84.00  78.75  79.50  75.75

- You get what you optimize for: with a budget on the MACs both hold it, but darc_s keeps a fifth of the parameters and
  darc_m three fifths.
- DARC does not beat the plain baselines here. Its joint training is short, 29 steps an epoch where the paper has 196,
  and the whole of it is spent before fine-tuning, which the others have for all of their epochs.
- DARC(T), DARTS' softmax, random replacement and all units replaced were not run to the end at this size.
"""

import pathlib

import darc_tables
import numpy as np
import runner

from tfcompress.methods import DARC, Replaced, Uniform
from tfcompress.report import plot_changes, plot_spectrum


def methods(args):
    """Each method sees the training images as often."""
    last = {"keep": "last", "batch_size": args.batch_size, "learning_rate": args.learning_rate}
    imitating = last | {"imitation_epochs": 2}
    darc = imitating | {"epochs": args.finetune_epochs, "blocks": args.blocks, "block_epochs": args.block_epochs}
    darc["alpha_rate"] = args.alpha_rate
    both = args.blocks * args.block_epochs + args.finetune_epochs
    return {
        "darc_s": DARC(minimize="params", **darc),
        "darc_m": DARC(minimize="macs", **darc),
        "darc_t": DARC(minimize="latency_ms", **darc),
        "softmax": DARC(weighting="softmax", **darc),
        "all": Replaced(choice="all", replacements=("3x3+1x1",), epochs=both, **imitating),
        "random": Replaced(choice="random", epochs=both, **imitating),
        "knapsack": Replaced(choice="knapsack", epochs=both, **imitating),
        "uniform": Uniform(epochs=both + 2, schedule="cosine", nesterov=True, **last),
    }


def after(results, data, args):
    """Throughput of each method's students, the mean over seeds; pictures of the first seed's spectra."""
    first = next(iter(results))
    original = runner.from_file(first.model, data, args)
    rows = [("", *(f"images/s, batch {batch}" for batch in args.batches), "of the original's")]
    base = darc_tables.throughput(original, args.batches)
    rows.append(("before", *(f"{rate:.0f}" for rate in base), ""))
    for run, of_run in results.items():
        rates = np.mean([darc_tables.throughput(result.model, args.batches) for result in of_run], axis=0)
        shares = " ".join(f"{rate / before:.2f}" for rate, before in zip(rates, base, strict=True))
        rows.append((run.name, *(f"{rate:.0f}" for rate in rates), shares))
        if args.out and of_run[0].candidates:
            plot_spectrum(of_run[0], pathlib.Path(args.out) / f"{run.name} spectrum.png", cost="macs")
            plot_changes(of_run[0], pathlib.Path(args.out) / f"{run.name} changes.png", cost="macs")
    runner.show(rows)


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/resnet20_cifar10.keras",
        "data": "cifar10",
        "images": {"default": 4000, "help": "training images, the held-out tenth included"},
        "flops_budget": 0.5,
        "blocks": 4,
        "block_epochs": 1,
        "alpha_rate": {"default": 16.0, "help": "learning rate of alpha, in those of the weights"},
        "finetune_epochs": 10,
        "batch_size": 128,
        "learning_rate": 0.01,
        "seeds": [0, 1, 2],
        "methods": ["uniform", "darc_m", "knapsack", "darc_s", "darc_t", "random", "all", "softmax"],
        "batches": {"default": [1, 256], "help": "batch sizes of throughput"},
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
        "batches": [1, 2],
    },
    "model": runner.from_file,
    "runs": runner.chosen(methods, model="residual"),
    "after": after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
