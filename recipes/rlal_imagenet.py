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

import common

import tfcompress
from tfcompress.methods import RLAL

PAPER = {
    "resnet18": {"epochs": 90, "flops_budget": 0.5},
    "resnet34": {"epochs": 90, "flops_budget": 0.5},
    "mobilenet_v2": {"epochs": 155, "flops_budget": 0.706},
}


def method(name, args):
    """RLAL with the paper's settings for a network on ImageNet."""
    if name == "mobilenet_v2":
        return RLAL(
            batch_size=256,
            learning_rate=0.05,
            schedule="cosine",
            agent_epochs=(10, 20, 90),
            reference_epochs=155,
            milestones=(),
            **common.settings(args),
        )
    return RLAL(
        batch_size=256,
        learning_rate=0.1,
        agent_epochs=(10, 20, 70),
        reference_epochs=90,
        milestones=(30, 60),
        **common.settings(args),
    )


def main():
    parser = common.parser(__doc__, data="imagenet2012", flops_budget=None, epochs=None, reward_images=50_000)
    parser.add_argument("--model", default="resnet18", choices=sorted(PAPER))
    args = common.parse(parser)
    args.epochs = args.epochs or PAPER[args.model]["epochs"]
    args.flops_budget = args.flops_budget or PAPER[args.model]["flops_budget"]
    data = common.load(args)
    network = getattr(tfcompress.zoo, args.model)
    model = network(common.image_shape(data), data.classes)
    common.compress(model, method(args.model, args), data, args)


if __name__ == "__main__":
    main()
