"""Importance criteria compared by the reward of their plans and by accuracy after recovery, on trained networks.

    python recipes/criteria.py --out runs/criteria
    python recipes/criteria.py --model savedmodels/teachers/vgg7_fashion_mnist_half.keras --data fashion_mnist --half \\
        --out runs/criteria_vgg

Each criterion ranks channels for the same three measurements: `plans`, random widths within the agents' bounds, the
same ones for every criterion; `local`, the same ratio everywhere; `global`, one ranking of all channels. A reward is
the accuracy of the sub-network with BatchNormalization statistics computed from one batch. `local` and `global` recover
in three epochs with labels only. Everything is measured on held-out training images: no test image is read, because
defaults are chosen by these results. docs/criteria.md has the table, and its discussion.
"""

import dataclasses

import images
import numpy as np
import runner

import tfcompress
from tfcompress.evaluation import Reward
from tfcompress.methods import Random, Uniform

CRITERIA = (
    "l1_norm",
    "bn_scale",
    "next_layer_l1_norm",
    "taylor",
    "feature_map_taylor",
    "group_l1_norm",
    "geometric_median",
    "activation_mean",
    "l2_norm",
    "group_l2_norm",
    "fisher",
    "random",
)


@dataclasses.dataclass(frozen=True)
class Scored(Uniform):
    """`Uniform`, with the reward of its plan as measured in the agents' searches."""

    def search(self, task):
        """Returns the plan of `Uniform` with its score."""
        search = super().search(task)
        (candidate,) = search.candidates
        score = Reward(task, None, None, recalibrate_batches=1)(search.plan)
        return dataclasses.replace(search, candidates=(dataclasses.replace(candidate, score=score),))


def load(args):
    """Loads the training images, including those to hold out; with `--half` each 2x2 pixels are averaged."""
    data = tfcompress.data.load(args.data, images=args.images + args.held_out)
    arrays = images.of_half_size(data.arrays) if args.half else data.arrays
    return dataclasses.replace(data, arrays=dataclasses.replace(arrays, test=None))


def given(data, args):
    """Returns training images, and held-out images as validation split; no test split."""
    (x, y), count = data.arrays.train, args.images
    train = dataclasses.replace(data.arrays, train=(x[:count], y[:count]))
    return {
        "data": dataclasses.replace(data, arrays=train),
        "validation_data": (data.preprocess(x[count:]), y[count:]),
    }


def runs(args):
    """Returns each measurement of `--measure` for each criterion."""
    training = {"epochs": args.epochs, "schedule": "cosine", "learning_rate": args.learning_rate, "keep": "last"}
    training |= {"teach": None, "recalibrate_student": 0}  # a short recovery without help, which shows what was cut
    tries = {"tries": args.tries, "reward_images": args.reward_images, "recalibrate_batches": 1}

    def method(measure, criterion):
        if measure == "plans":
            return Random(epochs=0, criterion=criterion, **tries)
        return Scored(criterion=criterion, scope=measure, **training)

    return [
        runner.Run(f"{measure} {criterion}", method(measure, criterion), model="residual")
        for measure in args.measure
        for criterion in args.criteria
    ]


def after(results, data, args):
    """Prints a line per criterion: mean and best reward of the plans; reward and accuracy of each scope, by seed."""
    del data
    columns = {"plans": ("plans: mean, best reward",)}
    columns |= {scope: (f"{scope}: reward", "accuracy", "each") for scope in ("local", "global")}
    rows = [("", *(title for measure in args.measure for title in columns[measure]))]
    of_name = {run.name: of_run for run, of_run in results.items()}
    for criterion in args.criteria:
        row = [criterion]
        for measure in args.measure:
            row += said(measure, of_name[f"{measure} {criterion}"])
        rows.append(row)
    runner.show(rows)


def said(measure, of_run):
    """Returns the results of a measurement over seeds."""
    if measure == "plans":
        rewards = np.array([result.history["search"]["reward"] for result in of_run])
        return [f"{rewards.mean():.3f}, {rewards.max():.3f}"]
    reward = np.mean([result.candidates[0].score for result in of_run])
    accuracies = [100 * result.after.validation_accuracy for result in of_run]
    return [f"{reward:.3f}", f"{np.mean(accuracies):.2f}", ", ".join(f"{each:.2f}" for each in accuracies)]


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/resnet20_cifar10.keras",
        "data": "cifar10",
        "half": {"default": False, "help": "average each 2x2 pixels"},
        "images": {"default": 2000, "help": "training images"},
        "held_out": {"default": 2000, "help": "number of further training images to measure on"},
        "flops_budget": 0.5,
        "epochs": {"default": 3, "help": "of recovery"},
        "learning_rate": 0.01,
        "tries": {"default": 20, "help": "random plans"},
        "reward_images": {"default": 500, "help": "images for the reward of each random plan"},
        "seeds": [0, 1, 2],
        "criteria": list(CRITERIA),
        "measure": ["plans", "local", "global"],
        "out": None,
    },
    "smoke": {
        "data": "digits",
        "images": 100,
        "held_out": 50,
        "epochs": 1,
        "tries": 2,
        "reward_images": 20,
        "seeds": [0],
        "criteria": ["l1_norm", "next_layer_l1_norm"],
    },
    "load": load,
    "model": runner.from_file,
    "given": given,
    "runs": runs,
    "after": after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
