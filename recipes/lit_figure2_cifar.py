"""LIT, Figure 2: ResNet and ResNeXt on CIFAR-10 and CIFAR-100, students from scratch, with KD and with LIT.

    python recipes/lit_figure2_cifar.py --network resnet --data cifar10
    python recipes/lit_figure2_cifar.py --network resnext --data cifar100

The teacher is a ResNet-110 (or ResNeXt-110) trained from scratch; students have 20, 32, 44, 56 and 110 layers, the last
of which are born-again networks. Accuracy over depth is printed and drawn.

The paper has no table of this figure. In words: LIT outperforms KD for every student; a ResNeXt-20 trained with LIT is
as accurate on CIFAR-10 as its teacher, the ResNeXt-110 (5.5 times smaller); LIT's born-again networks gain up to 0.64%
over those of KD; on CIFAR-100 KD makes a ResNeXt-110 worse. Its text and table 3 give these accuracies on CIFAR-10:

    ResNet-110   93.68%
    ResNet-20    with KD 92.75%, with LIT 93.25%
    ResNeXt-20   with KD 94.42%, with LIT 94.72%

Not run at full length here: with the paper's settings (200 to 325 epochs a network) one figure takes months on two CPU
cores. `--epochs-share 0.1 --images 10000 --depths 20` shortens it.
"""

import runner

from tfcompress.methods.distillation import KD, LIT, Scratch

RECIPE = {
    "flags": runner.LIT_FLAGS
    | {"depths": runner.LIT_FLAGS["depths"] | {"default": [20, 32, 44, 56, 110]}, "out": "savedmodels/lit_figure2"},
    "smoke": runner.LIT_SMOKE,
    "model": runner.teacher,
    "runs": runner.students({"scratch": (Scratch, {}), "KD": (KD, {}), "LIT": (LIT, {})}, teacher_is_scratch=True),
    "number": "depth",
    "plot": True,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
