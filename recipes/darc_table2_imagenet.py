"""DARC on ImageNet: Tables 2 and 6 and Figures 2 and 3 of "Differentiable Architecture Compression" (2020).

    python recipes/darc_table2_imagenet.py --teachers FOLDER --networks resnet18 resnet34 resnet50

FOLDER holds trained networks as NETWORK_imagenet2012.keras; the paper's ResNet-50 at 79.15% is GluonCV's v1d,
`zoo.resnet50(variant="v1d")`. A bottleneck of ResNet-50 is replaced as a whole. (S) limits parameters, (T) the latency
in LiteRT on this machine. Settings are the paper's, except that replacements imitate with Adam (docs/methods/darc.md):
10 epochs per block, for several GPUs. Not run in full."""

import darc_tables
import runner


def published(network):
    """Returns the name of a network's settings."""
    return "resnet50-imagenet" if network == "resnet50" else "resnet-imagenet"


RECIPE = {
    "flags": {
        "networks": {"default": ["resnet18", "resnet34", "resnet50"]},
        "penalties": {"default": ["S", "T"]},
        "data": "imagenet2012",
        **darc_tables.FLAGS,
    },
    "smoke": darc_tables.SMOKE,
    "model": darc_tables.model,
    "runs": darc_tables.runs(published),
    "after": darc_tables.after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
