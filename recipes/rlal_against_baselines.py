"""RLAL against Uniform and Random on CIFAR-10, at the same budget and the same number of training images seen.

    python recipes/rlal_against_baselines.py --out runs/rlal_against_baselines

A ResNet-20 (savedmodels/teachers/resnet20_cifar10.keras) is pruned to half its FLOPs with a schedule that fits two CPU
cores: 8,000 of the training images (800 of them held out for rewards), 8 epochs of joint training and 6 of fine-tuning
for RLAL, 14 of fine-tuning for the others; 120 episodes for RLAL and 120 tries for Random, each reward on 500 images
with BatchNormalization statistics taken anew from one batch. The test split is read once for each run.
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np

import tfcompress
from tfcompress.methods import RLAL, Random, Uniform


def methods(args):
    """The three methods, each seeing as many training images."""
    reward = {"reward_images": args.reward_images, "recalibrate_batches": args.recalibrate_batches}
    both = args.epochs + args.finetune_epochs
    rlal = RLAL(
        epochs=args.epochs,
        finetune_epochs=args.finetune_epochs,
        agent_epochs=(0, 25, 150),
        episodes_per_epoch=args.episodes_per_epoch,
        **reward,
    )
    # RLAL's agent acts in three quarters of the epochs of joint training.
    tries = args.episodes_per_epoch * -(-args.epochs * 3 // 4)
    return {"uniform": Uniform(epochs=both), "random": Random(epochs=both, tries=tries, **reward), "rlal": rlal}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="savedmodels/teachers/resnet20_cifar10.keras")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--images", type=int, default=8000, help="training images, the held-out tenth included")
    parser.add_argument("--flops-budget", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--finetune-epochs", type=int, default=6)
    parser.add_argument("--episodes-per-epoch", type=int, default=20)
    parser.add_argument("--reward-images", type=int, default=500)
    parser.add_argument("--recalibrate-batches", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=["uniform", "random", "rlal"])
    parser.add_argument("--out", default=None, help="run folders; a killed comparison goes on where it stopped")
    parser.add_argument("--smoke", action="store_true", help="a fresh ResNet-20 on a few digits, the shortest schedule")
    args = parser.parse_args()
    if args.smoke:
        args.data, args.images, args.seeds, args.reward_images = "digits", 200, [0], 20
        args.epochs, args.finetune_epochs, args.episodes_per_epoch = 4, 1, 1
    data = tfcompress.data.load(args.data, images=args.images)
    if args.smoke:
        model = tfcompress.zoo.resnet20(data.arrays.train[0].shape[1:], data.classes)
    else:
        model = keras.saving.load_model(args.model)
    rows = []
    for seed in args.seeds:
        for name in args.methods:
            start = time.time()
            result = tfcompress.compress(
                model,
                methods(args)[name],
                data,
                flops_budget=args.flops_budget,
                seed=seed,
                run_dir=pathlib.Path(args.out) / f"{name}-{seed}" if args.out else None,
                verbose=2,
            )
            rewards = [c.score for c in result.candidates if c.score is not None]
            row = {
                "method": name,
                "seed": seed,
                "before": result.before.accuracy,
                "test": result.after.accuracy,
                "validation": result.after.validation_accuracy,
                "macs": result.after.macs / result.before.macs,
                "params": result.after.params / result.before.params,
                "reward": max(rewards, default=None),
                "minutes": (time.time() - start) / 60,
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    for name in args.methods:
        test = [100 * row["test"] for row in rows if row["method"] == name]
        print(
            f"{name:8s} test accuracy {np.mean(test):.2f} +- {np.std(test):.2f} ({', '.join(f'{t:.2f}' for t in test)})"
        )


if __name__ == "__main__":
    main()
