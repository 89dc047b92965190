"""N2N against random search with as many students, a student by hand, uniform and Taylor pruning.

    python recipes/n2n_against_baselines.py --out runs/n2n_mnist
    python recipes/n2n_against_baselines.py --data fashion_mnist --widths 6 12 20 --out runs/n2n_fashion \\
        --model savedmodels/teachers/vgg7_fashion_mnist_half.keras
    python recipes/n2n_against_baselines.py --data fashion_mnist --out runs/n2n_transfer --updates 10 \\
        --model savedmodels/teachers/vgg7_fashion_mnist_half.keras \\
        --methods "n2n transferred" --policies "runs/n2n_mnist/n2n seed 0/policies"

Images have half their size, 14x14, by averaging; 3,000 of the training images, a tenth of them held out. Students are
scored after three epochs (two on MNIST); what is found is trained for 15, as the student by hand and the pruned
networks are. The test split is read once for each run. tensorflow 2.21.0, keras 3.15.1, two busy CPU cores, 10 to 50
minutes a search (5 to 10 on idle ones).

Fashion-MNIST, the second command with `--updates 30 --removal-rate 0.01` (150 students a stage), seeds 0, 1, 2:

    method    parameters           MACs                 test accuracy                best reward
    (before)  100%                 100%                 88.80
    n2n       27.2%, 12.1%, 17.7%  34.5%, 23.9%, 16.0%  74.18 (76.20, 73.24, 73.09)  0.768, 0.739, 0.759
    random    21.7%, 17.2%, 16.0%  47.0%, 56.3%, 45.6%  74.85 (75.06, 75.82, 73.68)  0.738, 0.717, 0.727
    taylor    5.0%, 4.9%, 4.9%     14.3%, 12.5%, 9.9%   75.15 (73.59, 76.09, 75.76)  -
    uniform   5.0%                 4.6%                 63.33 (62.93, 63.88, 63.18)  -
    by hand   4.3%                 3.7%                 61.74 (60.16, 63.63, 61.42)  -

    with a limit of 5% of the parameters, and stage 1 alone:
    n2n limited     4.9%, 4.9%, 4.5%  5.9%, 11.0%, 2.5%  56.08 (66.35, 56.85, 45.05)
    random limited  3.4%, 4.3%, 4.2%  7.2%, 7.0%, 6.4%   61.61 (57.70, 63.97, 63.17)
    n2n relaxed     3.6%, 4.7%, 4.0%  2.6%, 8.0%, 2.4%  57.08 (59.56, 65.30, 46.37)
    n2n removal     33.2%, 23.0%, 33.2%  69.9%, 69.9%, 25.4%  75.08 (77.48, 75.54, 72.21)

    mean reward of ten updates   first                last
    n2n, removal                 0.337, 0.378, 0.387  0.376, 0.445, 0.402
    n2n, shrinkage               0.454, 0.336, 0.386  0.680, 0.644, 0.650
    random, removal              0.365, 0.403, 0.371  0.412, 0.370, 0.431
    random, shrinkage            0.455, 0.355, 0.353  0.481, 0.361, 0.318

MNIST, the first command with `--removal-rate 0.01 --score-epochs 2` (100 students a stage), seeds 0, 1, 2:

    method          parameters           MACs                   test accuracy                best reward
    (before)        100%                 100%                   99.33
    n2n             14.0%, 13.8%, 15.3%  25.5%, 24.6%, 100.0%   97.10 (97.29, 97.30, 96.70)  0.925, 0.925, 0.869
    random          15.3%, 10.9%, 15.2%  28.1%, 20.1%,  28.1%   96.53 (96.66, 96.66, 96.26)  0.898, 0.922, 0.918
    n2n removal     15.3%, 15.4%, 15.3%  28.1%, 28.1%, 100.0%   97.29 (97.56, 97.48, 96.83)  0.911, 0.901, 0.859
    n2n limited      4.0%,  3.0%,  3.1%   6.9%,  5.4%, 19.7%    93.36 (93.55, 93.92, 92.61)  0.911, 0.901, 0.859
    random limited   3.4%,  3.5%,  4.1%   5.1%,  4.0%,  3.6%    93.66 (92.92, 93.01, 95.05)  0.898, 0.882, 0.915
    taylor           5.0%                 7.4%                  98.26 (98.54, 98.17, 98.08)  -
    uniform          5.0%                 5.6%                  97.63 (97.58, 97.71, 97.60)  -
    by hand          3.8%                 3.7%                  93.16 (92.71, 93.20, 93.56)  -

    mean reward of ten updates   first                last
    n2n, removal                 0.431, 0.446, 0.472  0.439, 0.493, 0.451
    n2n, shrinkage               0.581, 0.563, 0.350  0.825, 0.845, 0.629
    random, removal              0.417, 0.451, 0.460  0.376, 0.411, 0.492
    random, shrinkage            0.384, 0.491, 0.456  0.378, 0.514, 0.420

Policies of the MNIST search of seed 0 (a Conv4) that go on with Fashion-MNIST (a VGG-7), the third command with
`--removal-rate 0.01`, beside the searches above that began afresh, over the first ten updates of each stage:

    seeds 0, 1, 2                transferred          from scratch
    removal, mean reward         0.353, 0.444, 0.433  0.337, 0.378, 0.387
    shrinkage, mean reward       0.650, 0.655, 0.654  0.454, 0.336, 0.386
    best reward of both stages   0.688, 0.710, 0.694  0.719, 0.679, 0.694

- N2N finds the student of greater reward at three of three seeds on Fashion-MNIST and at two of three on MNIST: its
  shrinkage policy learns in each search, by 0.23 to 0.31 in its mean reward. At the third the best student of stage 1
  has the convolutions of the best one of seed 0 and lacks a pooling layer (0.869), and stage 2 did not make it better
  in 20 updates; random removal drew 0.918 there. Test accuracies do not tell the searches apart on Fashion-MNIST:
  N2N's students have half of random search's MACs at as many parameters.
- The removal policy learns slowly. In 20 to 30 updates its mean changes by -0.02 to 0.07, which random draws do as
  well; in a search of 50 updates (seed 0) it went 0.337, 0.393, 0.376, 0.365, 0.443. On a model of these rewards (a
  regression on the 450 students of three searches) it needs 60 to 100 updates to rise from 0.38 to 0.59, at two of
  three seeds, and above a rate of 0.01 it settles on bad plans. Before layers were read with mean 0 and deviation 1 it
  did not learn.
- Handed-on policies earn more from the first update on, in both stages and at three of three seeds, as in Table 5. The
  shrinkage policy has settled by then: of 50 students it draws 4, 15 and 19 different ones, none better than the best
  of the first stage. So what transfers is the mean, not the best student.
- Pruning is ahead of all of them at these lengths, Taylor pruning by far: it has 5% of the parameters at the accuracy
  of searches that keep 15%. Pruned networks keep the teacher's weights, and students begin afresh and have 15 epochs
  of 2,700 images; the paper trains for 150 of 45,000.
- With a limit of 5% of the parameters N2N is ahead of random search at two of three seeds, and behind in the mean
  (93.36 against 93.66): the third search is the one whose best student of stage 1 lacks a pooling layer.
- On Fashion-MNIST with that limit N2N is ahead of random search at seed 0 and behind at seeds 1 and 2, and pruning is
  ahead of both. Few students of stage 2 are within 5%: its mean reward begins at 0.02, 0.08 and 0.05, where it is 0.34
  to 0.45 without a limit, and reaches 0.19 in 30 updates at each seed. Random shrinkage goes from 0.05 to -0.01, 0.12
  to 0.19 and 0.10 to 0.00: the policy learns, and its best student, of reward 0.56, 0.56 and 0.46, is not better than
  that of as many draws (0.55, 0.60, 0.57).
- That the limit does not act in stage 1 is not the reason: with `--methods "n2n relaxed"`, where it acts in both stages
  and is strict in the second half of each, N2N has 57.08, still behind. Removal alone hardly reaches 5%: its mean
  reward ends at -0.97, 0.10 and 0.10, and what stage 2 begins with is no better (best rewards 0.53, 0.66, 0.41).
- With `--updates 100 --methods "n2n removal"` (500 students, 18 minutes on one core, seed 0) the removal policy learns
  as that model foretold: mean rewards of each ten updates 0.339, 0.390, 0.384, 0.376, 0.466, 0.503, 0.526, 0.501,
  0.508, 0.591. Its best student is the one that 30 updates found (0.721; test accuracy 77.48).
"""

import pathlib

import keras
import networks
import numpy as np
import runner

from tfcompress.methods import N2N, TaylorPruning, Uniform
from tfcompress.methods.distillation import KD
from tfcompress.report import plot_students, plot_updates


def load(args):
    """Loads the dataset with each 2x2 pixels averaged, which makes a student four times as cheap."""
    args.half = True
    return runner.load(args)


def teacher(name, data, args):
    """Returns the trained network of `--model`; with `--smoke` a fresh one, which is the same in every run."""
    keras.utils.set_random_seed(0)
    return runner.from_file(name, data, args)


def runs(args):
    """Returns N2N and random search with and without a limit of parameters; and the methods that need a limit."""
    training = trained(args)
    search = training | {
        "updates": args.updates,
        "score_epochs": args.score_epochs,
        "score_rate": args.score_rate,
        "removal_rate": args.removal_rate,
        "shrinkage_rate": args.shrinkage_rate,
    }
    limit = {"params": args.params_share}
    made = {
        "n2n": (N2N(**search), None),
        "random": (N2N(**search, random=True), None),
        "n2n limited": (N2N(**search), limit),
        "random limited": (N2N(**search, random=True), limit),
        "n2n relaxed": (N2N(**search, constraint="relaxed"), limit),
        "by hand": (by_hand, limit),
        "uniform": (Uniform(**training), limit),
        "taylor": (TaylorPruning(**training, runs=args.pruning_runs, filters=args.filters), limit),
        "n2n removal": (N2N(**search, stage="removal"), None),
        "n2n transferred": (N2N(**search, policies=args.policies), None),
    }
    return [runner.Run(name, *made[name][:1], model="residual", budget=made[name][1]) for name in args.methods]


def trained(args):
    """Returns the settings for training what each method found."""
    adam = {"optimizer": "adam", "learning_rate": 0.001, "schedule": "cosine"}
    return adam | {"epochs": args.epochs, "batch_size": args.batch_size}


def by_hand(data, args):
    """Returns KD of a student designed by hand."""
    return KD(student=networks.thin(data, args.widths), alpha=0.95, tau=6.0, **trained(args))


def after(results, data, args):
    """Prints what each search found: rewards by stage and of the best student; draws pictures of the first seed."""
    del data
    rows = [("", "stage", "students, trained", "mean reward of ten updates: first, last", "best, each seed")]
    for run, of_run in results.items():
        if not isinstance(run.method, N2N):
            continue
        for stage in dict.fromkeys(of_run[0].history["search"]["students: stage"]):
            rows.append((run.name, stage, *of_stage([result.history["search"] for result in of_run], stage)))
        if args.out:
            for plot in (plot_updates, plot_students):
                plot(of_run[0], pathlib.Path(args.out) / f"{run.name} {plot.__name__.removeprefix('plot_')}.png")
    runner.show(rows)


def of_stage(searches, stage):
    """Returns the number of a stage's students, and their rewards in the first and last ten updates and at best."""
    names = ("stage", "update", "reward", "trail", "accuracy")
    counts, first, last, best = [], [], [], []
    for search in searches:
        students = [
            row for row in zip(*(search[f"students: {name}"] for name in names), strict=True) if row[0] == stage
        ]
        updates = students[-1][1]
        first.append(np.mean([reward for _, update, reward, _, _ in students if update <= 10]))
        last.append(np.mean([reward for _, update, reward, _, _ in students if update > updates - 10]))
        best.append(max(reward for _, _, reward, _, _ in students))
        counts.append(f"{len(students)}, {len({row[3] for row in students if row[4] is not None})}")
    means = f"{np.mean(first):.3f}  {np.mean(last):.3f}"
    return "; ".join(counts), means, ", ".join(f"{value:.3f}" for value in best)


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/conv4_mnist_half.keras",
        "data": "mnist",
        "images": {"default": 3000, "help": "number of training images, including the held-out tenth"},
        "updates": {"default": 20, "help": "updates of each policy, each with five students"},
        "score_epochs": 3,
        "score_rate": 0.002,
        "removal_rate": 0.003,
        "shrinkage_rate": 0.01,
        "params_share": {"default": 0.05, "help": "limit of parameters, as a share of the teacher's"},
        "widths": {"default": [8, 16, 24], "help": "widths of the convolutions of the student designed by hand"},
        "pruning_runs": {"default": 5, "help": "runs of Taylor pruning, of which the best is taken"},
        "filters": {"default": 8, "help": "filters that Taylor pruning removes in a step"},
        "epochs": {"default": 15, "help": "epochs of the winner's training, and of the other methods"},
        "batch_size": 64,
        "policies": {"default": None, "help": "folder of an earlier search's policies, for 'n2n transferred'"},
        "seeds": [0, 1, 2],
        "methods": ["n2n", "random", "n2n limited", "random limited", "by hand", "uniform", "taylor", "n2n removal"],
        "out": None,
    },
    "smoke": {
        "methods": ["n2n limited", "by hand"],
        "data": "digits",
        "images": 100,
        "seeds": [0],
        "updates": 1,
        "score_epochs": 1,
        "params_share": 0.6,
        "widths": [4],
        "epochs": 1,
    },
    "load": load,
    "model": teacher,
    "runs": runs,
    "after": after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
