"""RLAL, Table 1: ResNet-56 on CIFAR-10 at half its FLOPs, trained and pruned jointly from the start.

    python recipes/rlal_resnet56_cifar10.py --run-dir runs/rlal_resnet56

The paper reports 93.41% before and 93.86% after. Defaults are its settings (200 + 200 epochs, batch 128, 10 episodes an
epoch): many days on two CPU cores, so the figures of a full run are not given here. Flags shrink the run; every
milestone is scaled with it.
"""

import common

from tfcompress.methods import RLAL


def main():
    args = common.parse(common.parser(__doc__, data="cifar10", flops_budget=0.5, epochs=200, reward_images=5000))
    data = common.load(args)
    common.compress(common.network("resnet56", data, args), RLAL(**common.settings(args)), data, args)


if __name__ == "__main__":
    main()
