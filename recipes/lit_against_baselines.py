"""LIT against KD, hint training, several hints and no teacher at all, with the same number of epochs.

    python recipes/lit_against_baselines.py --out runs/lit
    python recipes/lit_against_baselines.py --data fashion_mnist --half --blocks 1 1 1 --out runs/lit_fashion \\
        --model savedmodels/teachers/resnet20_fashion_mnist_half.keras

A trained ResNet becomes one with fewer blocks in each section, with a schedule that fits two CPU cores: 4,000 of the
training images, a tenth of them held out, and 12 epochs in batches of 64 for each method, with its defaults otherwise:

    lit      2 epochs of sections, fed by the teacher, with KD; then 10 of fine-tuning with KD
    kd       12 epochs
    hint     4 epochs up to the hint in the middle (FitNets), then 8 of KD
    hints    as lit, but the student feeds itself ("multiple IRs, no teacher input" in Table 3)
    scratch  12 epochs on the labels alone, from fresh weights

"lit published" and "kd published" have the paper's settings for ResNets (fresh weights, alpha 0.95, tau 6, steps, the
last epoch's weights; LIT 8 + 4 epochs), "kd fresh" KD's defaults from fresh weights. The test split is read once for
each run. A ResNet-20 with one block in each section, test accuracy, means of seeds 0, 1, 2:

                                         before    lit     kd  scratch
    Fashion-MNIST, 30% of the MACs        89.45  86.28  86.21    78.51
    the same, --images 5000 --epochs 10   89.45  86.92  86.44    78.88
    CIFAR-10, 30%                         88.27  71.42  71.14    52.20
    the same, --images 5000 --epochs 10   88.27  71.75  72.15    53.32

docs/results/defaults.md has each seed, times, versions and the discussion.
"""

import runner

from tfcompress.methods.distillation import KD, LIT, Hint, Scratch


def methods(args):
    """Returns the methods, with equally many epochs each."""
    both = {"blocks": tuple(args.blocks), "batch_size": args.batch_size}
    shorter = args.epochs // 3
    longer = args.epochs - shorter
    sections = max(1, args.epochs // 6) if args.section_epochs is None else args.section_epochs
    lit = both | {"epochs": sections, "finetune_epochs": args.epochs - sections}
    rate = {"learning_rate": args.learning_rate} if args.learning_rate else {}
    paper = {"epochs": longer, "finetune_epochs": shorter, "batch_size": args.batch_size, "blocks": tuple(args.blocks)}
    return {
        "lit": LIT(**lit, **rate),
        "kd": KD(**both, **rate, epochs=args.epochs),
        "hint": Hint(**both, **rate, hint_epochs=shorter, epochs=longer),
        "hints": LIT(**lit, **rate, teacher_input=False),
        "scratch": Scratch(**both, epochs=args.epochs),
        "lit published": LIT.as_published("resnet", **paper),
        "kd published": KD.as_published("resnet", **both, epochs=args.epochs),
        "kd fresh": KD(**both, epochs=args.epochs, start="fresh"),
    }


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/resnet32_cifar10.keras",
        "data": "cifar10",
        "half": {"default": False, "help": "halve the size of the images"},
        "images": {"default": 4000, "help": "number of training images, including the held-out tenth"},
        "blocks": {"default": [2, 2, 2], "help": "blocks of the student's sections"},
        "epochs": {"default": 12, "help": "epochs of each method, over all its phases"},
        "section_epochs": {"default": None, "type": int, "help": "those of LIT's sections; by default a sixth of all"},
        "batch_size": 64,
        "learning_rate": {
            "default": None,
            "type": float,
            "help": "initial learning rate of all methods but scratch; by default each method's own",
        },
        "seeds": [0, 1, 2],
        "methods": ["lit", "kd", "hint", "hints", "scratch", "lit published", "kd published", "kd fresh"],
        "out": None,
    },
    "smoke": {"data": "digits", "images": 80, "seeds": [0], "blocks": [1, 1], "epochs": 3, "methods": ["hint"]},
    "model": runner.from_file,
    "runs": runner.chosen(methods, model="resnet"),
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
