"""RLAL, Table 1: ResNet-56 on CIFAR-10 at half its FLOPs, trained and pruned jointly from the start.

    python recipes/rlal_resnet56_cifar10.py --run-dir runs/rlal_resnet56

The paper reports 93.41% before and 93.86% after. Defaults are its settings (200 + 200 epochs, batch 128, 10 episodes an
epoch): many days on two CPU cores, so the figures of a full run are not given here. Flags shrink the run; every
milestone is scaled with it.
"""

import runner

from tfcompress.methods import RLAL

RECIPE = {
    "flags": runner.RLAL_FLAGS,
    "smoke": runner.RLAL_SMOKE,
    "model": runner.from_zoo,
    "runs": lambda args: [
        runner.Run("", RLAL.as_published("resnet56-cifar10", **runner.rlal_settings(args)), model="resnet56")
    ],
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
