"""RLAL, Table 2: ResNet-18, ResNet-34 and MobileNetV2 on ImageNet.

    python recipes/rlal_imagenet.py --model resnet34 --run-dir runs/rlal_resnet34

Reads `imagenet2012` through tensorflow-datasets, which needs its archives to have been downloaded by hand. The paper's
settings are the defaults of each network:

    network      pruned FLOPs   epochs   agent    schedule              top-1 before   change
    resnet18     50.0%          90       20-70    0.1, x0.1 at 30, 60   69.80%         -0.80%
    resnet34     50.0%          90       20-70    0.1, x0.1 at 30, 60   73.45%         -0.14%
    mobilenet_v2 29.4%          155      20-90    0.05, cosine          71.82%         -0.50%

These accuracies are the paper's; without ImageNet at hand they were not reproduced here. The code path was run on small
data (`--smoke`).
"""

import networks
import runner

from tfcompress.methods import RLAL

# Of each network: the name of its published settings, and the share of the FLOPs to keep.
PAPER = {
    "resnet18": ("resnet-imagenet", 0.5),
    "resnet34": ("resnet-imagenet", 0.5),
    "mobilenet_v2": ("mobilenetv2-imagenet", 0.706),
}


def runs(args):
    """Returns the run for the network of `--model`."""
    network, share = PAPER[args.model]
    args.epochs = args.epochs or RLAL.published()[network]["epochs"]
    method = RLAL.as_published(network, **runner.rlal_settings(args))
    return [runner.Run("", method, model=args.model, flops_budget=args.flops_budget or share)]


RECIPE = {
    "flags": runner.RLAL_FLAGS
    | {
        "model": {"default": "resnet18", "choices": sorted(PAPER)},
        "data": "imagenet2012",
        "flops_budget": None,
        "epochs": {"default": None, "help": "epochs of joint training"},
        "reward_images": 50_000,
    },
    "smoke": runner.RLAL_SMOKE,
    "model": lambda name, data, args: networks.zoo(name, data),  # in `--smoke` too
    "runs": runs,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
