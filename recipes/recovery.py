"""Recovery after a cut: the effects of teacher, schedule, and recomputed statistics, one at a time.

    python recipes/recovery.py --out runs/recovery
    python recipes/recovery.py --data fashion_mnist --half --flops-budget 0.3 --out runs/recovery_fashion \\
        --model savedmodels/teachers/resnet20_fashion_mnist_half.keras

A trained network is cut by the same plan each time, Uniform's, and trained for 10 epochs on 4,500 images. Choices are
made on the validation split, 500 more images; the table has both splits. Each row differs from "default" in one thing:

    labels          no teacher
    A, T            weight A of the labels, with soft targets of temperature T
    rate R          R as the initial learning rate, 0.01 by default
    step            milestones instead of the cosine
    old statistics  BatchNormalization starts with the statistics of the whole network
    last            the last epoch's weights instead of the best one's
"""

import runner

from tfcompress.methods import Teaching, Uniform


def methods(args):
    """Returns Uniform with one changed setting each."""
    taught = {
        f"{alpha}, {tau:g}": {"teach": Teaching(alpha=alpha, tau=tau)}
        for alpha, tau in ((0.95, 6.0), (0.5, 4.0), (0.1, 4.0), (0.1, 2.0))
    }
    rows = {
        "default": {},
        "labels": {"teach": None},
        **taught,
        **{f"rate {rate:g}": {"learning_rate": rate} for rate in (0.001, 0.1)},
        "step": {"schedule": "step"},
        "old statistics": {"recalibrate_student": 0},
        "last": {"keep": "last"},
    }
    return {name: Uniform(epochs=args.epochs, **changes) for name, changes in rows.items()}


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/resnet20_cifar10.keras",
        "data": "cifar10",
        "half": {"default": False, "help": "halve the size of the images"},
        "images": {"default": 5000, "help": "number of training images, including the held-out tenth"},
        "flops_budget": 0.3,
        "epochs": 10,
        "seeds": [0, 1, 2],
        "methods": [
            "default",
            "labels",
            "0.95, 6",
            "0.5, 4",
            "0.1, 4",
            "0.1, 2",
            "rate 0.001",
            "rate 0.1",
            "step",
            "old statistics",
            "last",
        ],
        "out": None,
    },
    "smoke": {"data": "digits", "images": 100, "seeds": [0], "epochs": 1, "methods": ["labels", "old statistics"]},
    "model": runner.from_file,
    "runs": runner.chosen(methods, model="residual"),
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
