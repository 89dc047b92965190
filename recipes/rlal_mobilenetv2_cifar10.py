"""RLAL, Table 1: MobileNetV2 on CIFAR-10 at 50.6% of its FLOPs, trained and pruned jointly from the start.

    python recipes/rlal_mobilenetv2_cifar10.py --run-dir runs/rlal_mobilenetv2

The paper prunes 49.4% of the FLOPs and reports 94.48% before and 94.85% after. Defaults are its settings (200 + 200
epochs, batch 128, 10 episodes an epoch): many days on two CPU cores, so the figures of a full run are not given here.
Flags shrink the run; every milestone is scaled with it.
"""

import common

import tfcompress
from tfcompress.methods import RLAL


def main():
    args = common.parse(common.parser(__doc__, data="cifar10", flops_budget=0.506, epochs=200, reward_images=5000))
    data = common.load(args)
    model = tfcompress.zoo.mobilenet_v2(common.image_shape(data), data.classes)
    common.compress(model, RLAL(**common.settings(args)), data, args)


if __name__ == "__main__":
    main()
