"""DARC on CIFAR-10: Tables 4 and 5 and Figure 1 of "Differentiable Architecture Compression" (2020).

    python recipes/train_teacher.py --model resnet20_v2 --data cifar10 --epochs 200   # and so on, a file a network
    python recipes/darc_table4_cifar10.py --networks resnet20 resnet56

(S) limits parameters and (T) the latency in LiteRT on this machine, where the paper measures on a GPU. Settings are the
paper's, except that replacements imitate with Adam (docs/methods/darc.md): 20 epochs per block, for a GPU; on one core
an epoch of the relaxed ResNet-20 took 16 s for 3,600 images. Not run in full; `recipes/darc_against_baselines.py` has
figures of a short run."""

import darc_tables
import runner

PUBLISHED = {
    "resnet": "resnet-cifar10",
    "wide": "wide-resnet-cifar10",
    "smoke": "resnet-cifar10",
}


def published(network):
    """Returns the name of a network's settings."""
    return next(settings for start, settings in PUBLISHED.items() if network.startswith(start))


RECIPE = {
    "flags": {
        "networks": {
            "default": [
                *(f"resnet{depth}{version}" for depth in (20, 56, 110) for version in ("", "_v2")),
                "wide_resnet16_10",
                "wide_resnet28_10",
                "wide_resnet40_8",
            ]
        },
        "penalties": {"default": ["S", "T"]},
        "data": "cifar10",
        **darc_tables.FLAGS,
    },
    "smoke": darc_tables.SMOKE,
    "model": darc_tables.model,
    "runs": darc_tables.runs(published),
    "after": darc_tables.after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
