"""RLAL, Table 1: MobileNetV2 on CIFAR-10 at 50.6% of its FLOPs, trained and pruned jointly from the start.

    python recipes/rlal_mobilenetv2_cifar10.py --run-dir runs/rlal_mobilenetv2

The paper prunes 49.4% of the FLOPs and reports 94.48% before and 94.85% after. Defaults are its settings (200 + 200
epochs, batch 128, 10 episodes an epoch): many days on two CPU cores, so the figures of a full run are not given here.
Flags shrink the run; every milestone is scaled with it.
"""

import networks
import runner

from tfcompress.methods import RLAL

RECIPE = {
    "flags": runner.RLAL_FLAGS | {"flops_budget": 0.506},
    "smoke": runner.RLAL_SMOKE,
    "model": lambda name, data, args: networks.zoo(name, data),  # in `--smoke` too
    "runs": lambda args: [
        runner.Run("", RLAL.as_published("mobilenetv2-cifar10", **runner.rlal_settings(args)), model="mobilenet_v2")
    ],
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
