"""DARC against replacement without learning and against channel pruning, at equal cost and equal numbers of images.

    python recipes/darc_against_baselines.py --out runs/darc_against_baselines

A ResNet-20 (savedmodels/teachers/resnet20_cifar10.keras) is brought to half its MACs with a schedule that fits two CPU
cores: 4,000 of the training images (400 of them held out), 2 epochs of imitation, at most 4 blocks of 1 epoch of joint
training and 10 of fine-tuning; the others fine-tune for as many epochs. darc_m minimizes MACs, darc_s parameters,
darc_t the latency in LiteRT on this machine. The test split is read once for each run. Mean and deviation over
seeds; throughput through LiteRT with one thread, and in brackets that of the original's:

    method   MACs   params  test accuracy  seed 0, 1, 2         images/s, batch 1 and 256  minutes
    (before) 100%   100%    88.27                               2,509  2,019
    uniform  50.0%  51.3%   83.07 +- 0.12  82.90, 83.15, 83.16  3,064  2,625  (1.22 1.30)  2.6
    knapsack 49.3%  48.3%   83.46 +- 0.50  82.95, 84.13, 83.29  4,223  3,273  (1.68 1.62)  3.9
    darc_m   46.9%  59.8%   83.11 +- 0.30  82.73, 83.13, 83.46  4,389  3,370  (1.75 1.67)  6.2
    darc_t   47.4%  56.7%   81.86 +- 1.55  79.74, 82.44, 83.39  4,567  3,654  (1.82 1.81)  13.2
    darc_s   49.4%  24.7%   76.15 +- 3.23  79.73, 71.90, 76.81  4,176  3,317  (1.66 1.64)  10.5
    random   50.0%  50.9%   74.77 +- 3.04  74.44, 78.64, 71.22  4,161  3,211  (1.66 1.59)  2.4
    all      14.9%  13.9%   75.43 +- 0.29  75.50, 75.75, 75.05  7,593  5,059  (3.03 2.51)  2.0

(tensorflow 2.21.0, keras 3.15.1, ai-edge-litert 2.3.0, two busy CPU cores of an x86-64 machine, one thread.)

- You get what you optimize for. darc_s keeps a quarter of the parameters and darc_t 57%; darc_t's models are
  the fastest of those with half the MACs. Each is better at its own measure, at every seed.
- At equal MACs the accuracy of darc_m is that of pruned channels and of the knapsack: three seeds do not tell 83.1
  from 83.5. Its models make more of the saving: about half of the MACs is 1.7 times the throughput, and 1.2 times
  where channels are pruned (odd widths are the likely reason, which was not looked into).
- Learning which units to replace is worth 4 to 12 points against choosing them at random. All units replaced is another
  model: a seventh of the MACs.
- darc_s loses accuracy. Three quarters of the parameters lie in the last section and MACs evenly in all three: a
  penalty on parameters goes for the last section first. After four blocks no snapshot was within the MACs at two of
  three seeds, and the choice that gives up the least alpha had to do the rest.
- Latency is planned well: of the snapshots of darc_t the table of pieces and the measurement of the whole differ by
  less than 5% (0.224 and 0.220 ms, 0.236 and 0.232 ms for the last of seeds 0 and 1).
- `--alpha-rate` was chosen on training images that no search had seen, but the teacher had (darc_m, seed 0, 6,000
  images: 85.1 with 4, 85.2 with 16; uniform 84.4). With 1, blocks of 2 epochs and 4 of fine-tuning the same search
  gave 82.66 at 45.7% of the MACs for darc_m and 77.12 for darc_s on the test split, one seed.
- DARTS' softmax is among the methods and was not run at this size.
"""

import pathlib

import darc_tables
import numpy as np
import runner

from tfcompress.methods import DARC, Replaced, Uniform
from tfcompress.report import plot_changes, plot_spectrum


def methods(args):
    """Returns the methods, which all see equally many training images."""
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
    """Prints the throughput of each method's students, the mean over seeds; draws spectra of the first seed."""
    first = next(iter(results))
    original = runner.from_file(first.model, data, args)
    rows = [("", *(f"images/s, batch {batch}" for batch in args.batches), "of the original's")]
    base = darc_tables.throughput(original, args.batches)
    rows.append(("before", *(f"{rate:.0f}" for rate in base), ""))
    for run, of_run in results.items():
        rates = np.mean([darc_tables.throughput(result.model, args.batches) for result in of_run], axis=0)
        shares = " ".join(f"{rate / before:.2f}" for rate, before in zip(rates, base, strict=True))
        rows.append((run.name, *(f"{rate:.0f}" for rate in rates), shares))
        if args.out and isinstance(run.method, DARC):
            plot_spectrum(of_run[0], pathlib.Path(args.out) / f"{run.name} spectrum.png", cost="macs")
            plot_changes(of_run[0], pathlib.Path(args.out) / f"{run.name} changes.png", cost="macs")
    runner.show(rows)


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/resnet20_cifar10.keras",
        "data": "cifar10",
        "images": {"default": 4000, "help": "number of training images, including the held-out tenth"},
        "flops_budget": 0.5,
        "blocks": 4,
        "block_epochs": 1,
        "alpha_rate": {"default": 16.0, "help": "learning rate of alpha, relative to that of the weights"},
        "finetune_epochs": 10,
        "batch_size": 128,
        "learning_rate": 0.01,
        "seeds": [0, 1, 2],
        "methods": ["uniform", "darc_m", "knapsack", "darc_s", "darc_t", "random", "all", "softmax"],
        "batches": {"default": [1, 256], "help": "batch sizes for throughput"},
        "out": None,
    },
    "smoke": {
        "methods": ["uniform", "darc_m", "softmax"],
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
