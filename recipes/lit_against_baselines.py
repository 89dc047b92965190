"""LIT against KD, hint training, several hints and no teacher at all, on CIFAR-10 with the same number of epochs.

    python recipes/lit_against_baselines.py --out runs/lit_against_baselines

A ResNet-32 (savedmodels/teachers/resnet32_cifar10.keras) becomes a ResNet-14, two blocks in each section, with a
schedule that fits two CPU cores: 4,000 of the training images, a tenth of them held out, and 12 epochs for each method:

    lit      8 epochs of sections, fed by the teacher, with KD; then 4 of fine-tuning with KD
    kd       12 epochs
    hint     4 epochs up to the hint in the middle (FitNets), then 8 of KD
    hints    as lit, but the student feeds itself ("multiple IRs, no teacher input" in Table 3)
    scratch  12 epochs on the labels alone

Settings that are not named here are the paper's for ResNets, with milestones scaled to these epochs. The test split is
read once for each run.

    method    test accuracy, seeds 0, 1, 2
    (teacher) 87.13
    lit       64.98 +- 1.04 (63.58, 66.05, 65.32)
    hints     63.67 +- 0.85 (62.53, 64.56, 63.92)
    hint      61.12 +- 0.27 (60.97, 60.89, 61.50)
    scratch   50.23 +- 2.52 (52.85, 46.82, 51.02)
    kd        49.48 +- 2.82 (52.99, 46.08, 49.36)

(tensorflow 2.21.0, keras 3.15.1, two CPU cores, 3 to 9 minutes a run on a busy machine. The student has 38.3% of the
teacher's MACs and 37.2% of its parameters. Standard deviations over the three seeds. All but "hint" were run before a
change of the random stream that fresh weights come from: the same command now draws others.)

- LIT comes first, as in the paper (Table 3), where KD is second and several hints without teacher input last. Here,
  with 3,600 images and a teacher that saw 50,000, what sections hand on is worth far more than labels; LIT and "hints"
  also begin with the teacher's stem and classifier.
- KD is no better than no teacher in so few epochs. More weight for soft targets does not change that (seed 0:
  `--methods kd --alpha 0.1` 48.89, with `--learning-rate 0.01` as well 52.81); at full length it was not tried.
- The images are the teacher's own training images, for all methods alike.
"""

import runner

from tfcompress.methods.distillation import KD, LIT, Hint, Scratch


def methods(args):
    """The methods, each with as many epochs in all."""
    both = {"blocks": tuple(args.blocks), "batch_size": args.batch_size}
    shorter = args.epochs // 3
    longer = args.epochs - shorter
    lit = both | {"epochs": shorter, "finetune_epochs": longer}
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
        "half": {"default": False, "help": "images of half their size"},
        "images": {"default": 4000, "help": "training images, the held-out tenth included"},
        "blocks": {"default": [2, 2, 2], "help": "of the student's sections"},
        "epochs": {"default": 12, "help": "of each method, over all its phases"},
        "batch_size": 64,
        "learning_rate": {"default": None, "type": float, "help": "of all but scratch; by default that of each method"},
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
