"""What recipes share: the flags of RLAL's, the line that compresses and prints, the comparison of several methods."""

import argparse
import json
import pathlib
import time

import keras
import numpy as np

import tfcompress


def parser(doc, **defaults):
    """The flags of a recipe; `defaults` are the paper's settings."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", default=defaults["data"], help="name of a dataset")
    made.add_argument("--images", type=int, default=None, help="use only the first so many training images")
    made.add_argument("--flops-budget", type=float, default=defaults["flops_budget"], help="share of the FLOPs to keep")
    made.add_argument("--epochs", type=int, default=defaults["epochs"], help="of joint training")
    made.add_argument("--finetune-epochs", type=int, default=None, help="by default as many as --epochs")
    made.add_argument("--episodes-per-epoch", type=int, default=10)
    made.add_argument("--reward-images", type=int, default=defaults["reward_images"])
    made.add_argument("--run-dir", default=None, help="a killed run goes on from here")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--smoke", action="store_true", help="a few digits and the shortest schedule: does it run?")
    return made


def parse(made):
    """The flags; `--smoke` shrinks everything."""
    args = made.parse_args()
    if args.smoke:
        args.data, args.images, args.reward_images = "digits", 100, 10
        args.epochs, args.finetune_epochs, args.episodes_per_epoch = 4, 0, 1
    return args


def network(name, data, args):
    """A network of the zoo for the data; `--smoke` takes two residual blocks instead, which build in no time."""
    shape = image_shape(data)
    if not args.smoke:
        return getattr(tfcompress.zoo, name)(shape, data.classes)
    inputs = keras.Input(shape)
    x = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    for _ in range(2):
        y = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
        x = keras.layers.Add()([x, keras.layers.Conv2D(8, 3, padding="same")(y)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(data.classes)(x), name="smoke")


def settings(args):
    """The settings of RLAL that are flags of every recipe; the last epoch's weights are reported, as in the paper."""
    return {
        "keep": "last",
        "epochs": args.epochs,
        "finetune_epochs": args.finetune_epochs,
        "episodes_per_epoch": args.episodes_per_epoch,
        "reward_images": args.reward_images,
    }


def load(args):
    """The dataset of the flags."""
    return tfcompress.data.load(args.data, images=args.images)


def image_shape(data, streamed=(224, 224, 3)):
    """`(height, width, channels)` of the images; a streamed dataset is cropped to `streamed`."""
    return streamed if data.arrays is None else data.arrays.train[0].shape[1:]


def compress(model, method, data, args, name=""):
    """Compresses as the flags say, prints the result, and returns it."""
    run_dir = pathlib.Path(args.run_dir) / name if args.run_dir else None
    result = tfcompress.compress(
        model, method, data, flops_budget=args.flops_budget, run_dir=run_dir, seed=args.seed, verbose=2
    )
    result.summary()
    return result


def compare(model, methods, data, args, rewards=False, **budget):
    """Runs each of `args.methods` with each of `args.seeds`; prints a row of JSON a run, at the end a line a method.

    Args:
        model: the model.
        methods: by name.
        data: the dataset.
        args: with `methods`, `seeds`, and `out` for run folders or `None`.
        rewards: whether rows have the best reward of the run.
        **budget: of `tfcompress.compress`.
    """
    rows = []
    for seed in args.seeds:
        for name in args.methods:
            start = time.time()
            run_dir = pathlib.Path(args.out) / f"{name}-{seed}" if args.out else None
            result = tfcompress.compress(model, methods[name], data, seed=seed, run_dir=run_dir, verbose=2, **budget)
            row = {
                "method": name,
                "seed": seed,
                "before": result.before.accuracy,
                "test": result.after.accuracy,
                "validation": result.after.validation_accuracy,
                "macs": result.after.macs / result.before.macs,
                "params": result.after.params / result.before.params,
            }
            if rewards:
                row["reward"] = max((c.score for c in result.candidates if c.score is not None), default=None)
            row["minutes"] = (time.time() - start) / 60
            print(json.dumps(row), flush=True)
            rows.append(row)
    for name in args.methods:
        test = [100 * row["test"] for row in rows if row["method"] == name]
        print(
            f"{name:8s} test accuracy {np.mean(test):.2f} +- {np.std(test):.2f} ({', '.join(f'{t:.2f}' for t in test)})"
        )
