"""Common parts of the recipes of N2N's paper: its data, teachers by its section 10.2, searches, tables, curves.

The paper is Ashok, Rhinehart, Beainy and Kitani (ICLR 2018), "N2N Learning: Network to Network Compression via Policy
Gradient Reinforcement Learning". Decided here where it says nothing:

- Teachers on MNIST and Caltech-256 (learning rate 0.01) are trained with SGD, the others (0.001) with Adam.
- Students of a search, students designed by hand and pruned networks are trained fully in the same way as their
  teacher.
- MNIST's pixels are in [0, 1]; VGG networks, which halve images five times, read images below 32 pixels padded to 32x32
  with black edges.
- Caltech-256: a fifth is the test split; images are padded by an eighth before they are cropped; batches of 64.

A search is large: 100 updates of 5 students, each trained for 5 epochs, are 2,500 epochs a stage. The hours that the
recipes give are estimates from such numbers and from MACs, not measured.
"""

import dataclasses
import pathlib
import tempfile

import images
import keras
import networks
import numpy as np
import runner

import tfcompress
from tfcompress.data import NamedData
from tfcompress.data.batches.scaling import to_unit_interval
from tfcompress.data.named.loading import NamedArrays
from tfcompress.methods import N2N
from tfcompress.methods.distillation import KD, Scratch
from tfcompress.report import plot_students, plot_updates

PUBLISHED = {"mnist": "vgg13-mnist", "caltech256": "resnet18-caltech256"}
"""Datasets with settings of their own in section 10.2, by their names in `N2N.as_published`; others have CIFAR-10's."""


def _workers(text):
    return int(text) if text.isdecimal() else text


FLAGS = {
    "data": {
        "default": "cifar10",
        "help": "mnist, cifar10, svhn_cropped, cifar100, caltech256, or another dataset's name",
    },
    "folder": {
        "default": None,
        "help": "images, with a folder per class, for caltech256, which cannot be downloaded here",
    },
    "pixels": {"default": 224, "help": "height and width of the images of --folder"},
    "images": None,
    "updates": {"default": 100, "help": "updates of each policy"},
    "rollouts": {"default": 5, "help": "students for each update"},
    "score_epochs": {"default": 5, "help": "epochs of each student"},
    "workers": {"default": None, "type": _workers, "help": "processes that score students, or ray"},
    "epochs_share": 1.0,
    "unit_interval": {"default": False, "help": "the teacher reads pixels in [0, 1], like those of train_teacher.py"},
    "seeds": [0, 1, 2],
}
"""Flags of all of these recipes; each adds `out`, and `TEACHER` or networks of its own."""

TEACHER = {
    "network": {"default": "resnet18", "choices": ("conv4", "resnet18", "resnet34", "vgg13", "vgg19")},
    "teacher": None,
}
"""Flags of those with one teacher."""

SMOKE = {
    "data": "digits",
    "folder": None,
    "workers": None,
    "images": 100,
    "updates": 1,
    "rollouts": 1,
    "score_epochs": 1,
    "epochs_share": 0.0,
    "seeds": [0],
}


# Data and teachers.


def load(args):
    """Loads the dataset of the flags, scaled and augmented as in section 10.2."""
    if args.data == "caltech256" and not args.folder:
        args.parser.error("--data caltech256: expected --folder with the images, a folder per class. Received: none")
    if args.folder and not pathlib.Path(args.folder).is_dir():
        args.parser.error(f"--folder: expected a folder with a folder per class. Received: {args.folder}")
    data = _of_folder(args) if args.folder else tfcompress.data.load(args.data, images=args.images)
    named = (vars(args).get("network", ""), *vars(args).get("pairs", ()))
    # Named functions, which other processes can import.
    if networks.image_shape(data)[0] < 32 and any("vgg" in name for name in named):
        preprocess = images.framed
    else:
        preprocess = to_unit_interval if args.unit_interval or args.data == "mnist" else images.centred
    return dataclasses.replace(data, preprocess=preprocess)


def _of_folder(args):
    """Returns images of a folder with a folder per class; a fifth of them, drawn by a fixed seed, is the test split."""
    size, options = (args.pixels, args.pixels), {"crop_to_aspect_ratio": True, "validation_split": 0.2, "seed": 0}
    parts = keras.utils.image_dataset_from_directory(args.folder, image_size=size, subset="both", **options)
    train, test = map(_arrays, parts)
    x, y = train
    arrays = NamedArrays(args.data, (x[: args.images], y[: args.images]), test, len(parts[0].class_names))
    return NamedData(args.data, arrays.classes, to_unit_interval, images.flipped_and_cropped, arrays)


def _arrays(part):
    """Returns `(images uint8, labels)` of a dataset of images, in memory."""
    count, shape = len(part.file_paths), part.element_spec[0].shape[1:]
    x, y, start = np.empty((count, *shape), "uint8"), np.empty(count, "int64"), 0
    for batch, labels in part.as_numpy_iterator():
        x[start : start + len(batch)], y[start : start + len(batch)] = np.round(batch), labels
        start += len(batch)
    return x, y


def training(args):
    """Returns the training of a teacher and its students, its epochs times `--epochs-share`."""
    settings = dataclasses.asdict(N2N.as_published(published(args)).training)
    return settings | {"epochs": max(1, round(settings["epochs"] * args.epochs_share))}


def published(args):
    """Returns the name of the paper's settings for the dataset."""
    return PUBLISHED.get(args.data, "resnet18-cifar10")


def teacher(name, data, args):
    """Returns the teacher: that of `--teacher` or `--teachers`, or one trained from scratch."""
    if vars(args).get("teacher"):
        return keras.saving.load_model(args.teacher)
    if vars(args).get("teachers"):
        return keras.saving.load_model(pathlib.Path(args.teachers) / f"{name}_{args.data}.keras")
    keras.utils.set_random_seed(0)  # as a run folder goes on only with the network that it was made for
    if args.smoke:
        return networks.tiny("resnet", data)
    fresh, run_dir = networks.zoo(name, data), runner.folder(args, f"teacher {name}")
    # The student is given, as a VGG has no blocks by which one could be made.
    return tfcompress.compress(fresh, Scratch(student=fresh, **training(args)), data, run_dir=run_dir, verbose=2).model


# Methods.


def search(args, **changes):
    """Returns N2N with the paper's settings and the changes of the flags."""
    settings = {name: getattr(args, name) for name in ("updates", "rollouts", "score_epochs", "workers")}
    return N2N.as_published(published(args), **training(args) | settings | changes)


def taught(student, args):
    """Returns a full training of a student like that of a search's winner: `L_hard + lambda L_KD` on logits."""
    weight = N2N.as_published(published(args)).soft_weight
    return KD(student=student, alpha=1 / (1 + weight), soft="logits", **training(args))


def somewhere(args):
    """Gives `--out` a temporary folder if a recipe needs one and none was given."""
    if not args.out:
        args.temporary = tempfile.TemporaryDirectory()
        args.out = args.temporary.name


# What came of it.


def after(results, data, args):
    """Prints the paper's table, and draws pictures of the searches, for a recipe's `after`."""
    del data
    table(results)
    pictures(results, args)


def table(results):
    """Prints accuracy, parameters, change of accuracy and compression, means over seeds, as the paper's tables do."""
    rows = [("", "Acc.", "#Params", "change of Acc.", "Compr.")]
    before = next(iter(results.values()))[0].before
    rows.append(("teacher", f"{before.accuracy:.2%}", f"{before.params:,}", "", "1x"))
    for run, of_run in results.items():
        accuracy = np.mean([result.after.accuracy for result in of_run])
        params = np.mean([result.after.params for result in of_run])
        change, compression = accuracy - before.accuracy, before.params / params
        rows.append((run.name, f"{accuracy:.2%}", f"{params:,.0f}", f"{change:+.2%}", f"{compression:.1f}x"))
    runner.show(rows)


def pictures(results, args):
    """Draws each search by update and its students as points, if there is `--out`."""
    for run, of_run in results.items() if args.out else ():
        for result in of_run:
            if any(score is not None for score in result.history["search"].get("students: accuracy", ())):
                for plot in (plot_updates, plot_students):
                    name = f"{runner.title(run, result.seed, args)} {plot.__name__.removeprefix('plot_')}.png"
                    plot(result, runner.folder(args, name))


def curves(result, stage):
    """Returns for each update of a stage the means over its students: `{"reward", "compression", "accuracy": list}`.

    A student that was not trained has compression and accuracy 0, and a reward of -1. The lists of a stage that was not
    played are empty.
    """
    history = result.history["search"]
    names = ("stage", "update", "reward", "params", "accuracy")
    updates = {}
    for of_stage, update, reward, params, accuracy in zip(*(history[f"students: {n}"] for n in names), strict=True):
        if of_stage == stage:
            student = (reward, 0.0, 0.0) if accuracy is None else (reward, 1 - params / result.before.params, accuracy)
            updates.setdefault(update, []).append(student)
    means = [np.mean(updates[update], axis=0).tolist() for update in sorted(updates)]
    return dict(zip(("reward", "compression", "accuracy"), map(list, zip(*means, strict=True)), strict=bool(means)))
