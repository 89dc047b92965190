"""N2N against random search with as many students, a student by hand and uniform pruning; MNIST, Fashion-MNIST.

    python recipes/n2n_against_baselines.py --out runs/n2n_mnist
    python recipes/n2n_against_baselines.py --data fashion_mnist --widths 6 12 20 --out runs/n2n_fashion \\
        --model savedmodels/teachers/vgg7_fashion_mnist_half.keras
"""

import dataclasses
import pathlib

import images
import networks
import runner

from tfcompress.methods import N2N, Uniform
from tfcompress.methods.distillation import KD
from tfcompress.report import plot_students, plot_updates


def load(args):
    """The dataset with each 2x2 pixels averaged, which makes a student four times as cheap."""
    data = runner.load(args)
    return data if args.smoke else dataclasses.replace(data, arrays=images.of_half_size(data.arrays))


def runs(args):
    """N2N and random search with and without a limit of parameters; and what needs one."""
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
        "by hand": (by_hand, limit),
        "uniform": (Uniform(**training), limit),
        "n2n removal": (N2N(**search, stage="removal"), None),
    }
    return [runner.Run(name, *made[name][:1], model="residual", budget=made[name][1]) for name in args.methods]


def trained(args):
    """How every method trains what it found."""
    adam = {"optimizer": "adam", "learning_rate": 0.001, "schedule": "cosine"}
    return adam | {"epochs": args.epochs, "batch_size": args.batch_size}


def by_hand(data, args):
    """KD of a student designed by hand."""
    return KD(student=networks.thin(data, args.widths), **trained(args))


def after(results, data, args):
    """What each search found: rewards of the last updates, and of the best student; pictures of the first seed's."""
    del data
    rows = [("", "students, trained", "mean reward, first and last fifth", "best reward, each seed")]
    for run, of_run in results.items():
        if not isinstance(run.method, N2N):
            continue
        counts, first, last, best = [], [], [], []
        for result in of_run:
            search = result.history["search"]
            stages, rewards, trails, accuracies = (
                search[f"students: {name}"] for name in ("stage", "reward", "trail", "accuracy")
            )
            of_last = [reward for reward, stage in zip(rewards, stages, strict=True) if stage == stages[-1]]
            fifth = max(1, len(of_last) // 5)
            first.append(sum(of_last[:fifth]) / fifth)
            last.append(sum(of_last[-fifth:]) / fifth)
            best.append(max(candidate.score for candidate in result.candidates))
            trained = {trail for trail, score in zip(trails, accuracies, strict=True) if score is not None}
            counts.append(f"{len(trails)}, {len(trained)}")
        rows.append(
            (
                run.name,
                "; ".join(counts),
                f"{sum(first) / len(first):.3f} {sum(last) / len(last):.3f}",
                ", ".join(f"{value:.3f}" for value in best),
            )
        )
        if args.out:
            for plot in (plot_updates, plot_students):
                plot(of_run[0], pathlib.Path(args.out) / f"{run.name} {plot.__name__.removeprefix('plot_')}.png")
    runner.show(rows)


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/conv4_mnist_half.keras",
        "data": "mnist",
        "images": {"default": 3000, "help": "training images, the held-out tenth included"},
        "updates": {"default": 20, "help": "of each policy, each with five students"},
        "score_epochs": 3,
        "score_rate": 0.002,
        "removal_rate": 0.003,
        "shrinkage_rate": 0.01,
        "params_share": {"default": 0.05, "help": "limit of parameters, a share of the teacher's"},
        "widths": {"default": [8, 16, 24], "help": "of the convolutions of the student by hand"},
        "epochs": {"default": 15, "help": "of the winner's training, and of the others'"},
        "batch_size": 64,
        "seeds": [0, 1, 2],
        "methods": ["n2n", "random", "n2n limited", "random limited", "by hand", "uniform", "n2n removal"],
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
    "model": runner.from_file,
    "runs": runs,
    "after": after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
