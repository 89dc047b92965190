"""What the LIT recipes share: their flags, the networks, and the lines that run methods and show what came of them.

The paper is Koratana, Kang, Bailis and Zaharia (2018), "LIT: Block-wise Intermediate Representation Training for Model
Compression". Methods have its settings (appendix A); `--epochs-share` shortens all of its schedules alike.
"""

import argparse
import dataclasses
import json
import pathlib

import keras
import numpy as np

import tfcompress
from tfcompress.methods.distillation import Scratch
from tfcompress.report import plot_lines
from tfcompress.report.table import in_columns

# Sections of plain convolutions count these one by one: two in each of VDCNN's blocks.
VDCNN_BLOCKS = {9: (2, 2, 2, 2), 17: (4, 4, 4, 4), 29: (10, 10, 4, 4)}
ZOO_DEPTHS = (20, 32, 44, 56, 110)  # of ResNet and ResNeXt, table 6


def parser(doc, folder, *, networks=("resnet", "resnext"), teacher_depth=110, depths=(20,), data="cifar10", seeds=(0,)):
    """The flags of a recipe; defaults are the paper's settings."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--network", default=networks[0], choices=networks)
    texts = "vdcnn" in networks
    made.add_argument(
        "--teacher-depth", type=int, default=teacher_depth, choices=tuple(VDCNN_BLOCKS) if texts else ZOO_DEPTHS
    )
    made.add_argument(
        "--depths",
        type=int,
        nargs="+",
        default=list(depths),
        choices=tuple(VDCNN_BLOCKS) if texts else range(8, 111, 6),
        metavar="DEPTH",
        help="of the students" + ("" if texts else ": 8, 14, 20, ..., 110"),
    )
    made.add_argument("--data", default=data, help="name of a dataset")
    made.add_argument("--images", type=int, default=None, help="use only the first so many training images or texts")
    made.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    made.add_argument("--epochs-share", type=float, default=1.0, help="of the paper's epochs; milestones move along")
    made.add_argument("--teacher", default=None, help="a .keras file; without it a teacher is trained from scratch")
    made.add_argument("--out", default=f"savedmodels/{folder}", help="run folders: a killed recipe goes on from here")
    made.add_argument("--smoke", action="store_true", help="few samples, a tiny untrained teacher, one run, one epoch")
    return made


def parse(made):
    """The flags; `--smoke` shrinks everything."""
    args = made.parse_args()
    if args.smoke:
        args.data, args.images, args.seeds, args.epochs_share = "digits", 80, [0], 0.0
    return args


# Methods.


def published(method, network, args, **changes):
    """A method with the paper's settings for a network, and its epochs times `--epochs-share`."""
    made = method.as_published(network, **changes)
    epochs = {"epochs": max(1, round(made.epochs * args.epochs_share))}
    if hasattr(made, "finetune_epochs"):
        epochs["finetune_epochs"] = round(made.finetune_epochs * args.epochs_share)
    return dataclasses.replace(made, **epochs)


def blocks(depth, args):
    """How many blocks a student of this depth has in each section (table 6 of the paper)."""
    if args.smoke:
        return (1, 1)
    return VDCNN_BLOCKS[depth] if args.network == "vdcnn" else ((depth - 2) // 6,) * 3


# Data and teacher.


def load(args):
    """The dataset of the flags."""
    return tfcompress.data.load(args.data, images=args.images)


def teacher(data, args):
    """The teacher: that of `--teacher`, or one trained from scratch with the paper's settings."""
    if args.teacher:
        return keras.saving.load_model(args.teacher)
    keras.utils.set_random_seed(0)  # as a run folder goes on only with the network that it was made for
    fresh = _network(data, args)
    if args.smoke:
        return fresh
    method = published(Scratch, args.network, args)
    return tfcompress.compress(
        fresh, method, data, flops_budget=1.0, run_dir=_folder(args, f"teacher {args.teacher_depth}"), verbose=2
    ).model


def _network(data, args):
    if args.smoke:
        return smoke_text_network(data) if args.network == "vdcnn" else smoke_network(data, args.network)
    build = getattr(tfcompress.zoo, f"{args.network}{args.teacher_depth}")
    return build(classes=data.classes) if args.network == "vdcnn" else build(image_shape(data), data.classes)


def image_shape(data):
    """`(height, width, channels)` of the images; those that are streamed are cropped to 32x32."""
    return (32, 32, 3) if data.arrays is None else data.arrays.train[0].shape[1:]


def smoke_network(data, network="resnet"):
    """Two sections of two blocks each, which build in no time; with grouped convolutions as a "resnext"."""
    inputs = keras.Input(image_shape(data))
    x = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    x = _smoke_block(_smoke_block(x, 8, network), 8, network)
    x = keras.layers.Conv2D(16, 3, 2, "same")(x)
    x = _smoke_block(x, 16, network)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(data.classes)(x), name="smoke")


def _smoke_block(x, width, network):
    y = x
    if network == "resnext":
        y = keras.layers.Conv2D(width, 3, padding="same", groups=4)(keras.layers.Conv2D(width, 1)(y))
    y = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(y)
    return keras.layers.Add()([x, keras.layers.BatchNormalization()(y)])


def smoke_text_network(data):
    """Two sections of two and three convolutions, over characters."""
    inputs = keras.Input(data.arrays.train[0].shape[1:], dtype="int32")
    x = keras.layers.Embedding(len(tfcompress.data.CHARACTERS) + 1, 4)(inputs)
    x = keras.layers.Conv1D(8, 3, padding="same")(x)
    for width, repeat in ((8, 2), (16, 3)):  # the first of the second section changes the shape
        for _ in range(repeat):
            x = keras.layers.Conv1D(width, 3, padding="same", activation="relu")(x)
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.MaxPooling1D(2)(x)
    x = keras.layers.GlobalMaxPooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(data.classes)(x), name="smoke")


# Runs, and what came of them.


def _folder(args, name):
    if args.smoke:
        return None
    return pathlib.Path(args.out) / args.network / args.data.strip("/").replace("/", "_") / name


def run(model, data, experiments, args):
    """Compresses with each method and seed, and prints a JSON line for each run; `--smoke` runs the last method only.

    Args:
        model: the teacher.
        data: the dataset.
        experiments: `{(name, number): method}`; the number is what the experiment varies, such as a student's depth.
        args: the flags.

    Returns:
        `{(name, number): list of results, one a seed}`.
    """
    found = {}
    for name, number in list(experiments)[-1:] if args.smoke else experiments:
        for seed in args.seeds:
            result = tfcompress.compress(
                model,
                experiments[name, number],
                data,
                seed=seed,
                run_dir=_folder(args, f"{name} {number} seed {seed}"),
                verbose=2,
            )
            found.setdefault((name, number), []).append(result)
            row = {"name": name, "number": number, "seed": seed, "accuracy": result.after.accuracy}
            print(json.dumps({**row, "macs": result.after.macs, "params": result.after.params}), flush=True)
    return found


def show(results, number="depth"):
    """Prints a table: the teacher, and a line for each experiment with the mean and standard deviation over seeds."""
    before = next(iter(results.values()))[0].before
    rows = [("", number, "MACs", "parameters", f"{before.split} accuracy", "+-", "runs")]
    rows.append(("teacher", "", f"{before.macs:,}", f"{before.params:,}", f"{100 * before.accuracy:.2f}", "", ""))
    for (name, value), found in results.items():
        after, accuracies = found[0].after, _accuracies(found)
        mean, deviation = f"{np.mean(accuracies):.2f}", f"{np.std(accuracies):.2f}" if len(found) > 1 else "-"
        rows.append((name, str(value), f"{after.macs:,}", f"{after.params:,}", mean, deviation, str(len(found))))
    print("\n".join(in_columns(rows, left=1)))


def _accuracies(results):
    return [100 * result.after.accuracy for result in results]


def plot(results, args, number="depth"):
    """Draws accuracy over the number of each experiment, a line for each name."""
    lines = {}
    for (name, value), found in results.items():
        x, y = lines.setdefault(name, ([], []))
        x.append(value)
        y.append(np.mean(_accuracies(found)))
    before = next(iter(results.values()))[0].before
    values = [value for _, value in results]
    lines["teacher"] = ([min(values), max(values)], [100 * before.accuracy] * 2)
    draw(lines, args, number, f"{before.split} accuracy (%)")


def draw(lines, args, x_label, y_label, x_scale="linear"):
    """Draws lines into a file named after `--out`, and says where it is."""
    folder = pathlib.Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{args.network}_{pathlib.Path(args.data).name}.png"
    plot_lines(lines, path, x_label, y_label, x_scale)
    print(f"Plot: {path}")


# Pruning by magnitude.


def prune(model, sparsity):
    """Sets the smallest weights of each layer's kernel to zero, in place: magnitude pruning in one shot.

    Args:
        model: a model of stock Keras layers.
        sparsity: share of the weights of each kernel that become zero. Biases and BatchNormalization stay as they are.
    """
    for layer in model.layers:
        if getattr(layer, "kernel", None) is not None:
            kernel = np.array(layer.kernel)
            smallest = np.argsort(np.abs(kernel), axis=None, kind="stable")[: round(sparsity * kernel.size)]
            np.put(kernel, smallest, 0)
            layer.kernel.assign(kernel)


def nonzero_bytes(model):
    """Bytes of the weights that are not zero."""
    return sum(np.count_nonzero(weight) * weight.dtype.itemsize for weight in model.get_weights())


def test_accuracy(model, data):
    """Percentage of right answers on the test split, of a dataset in memory."""
    x, y = data.arrays.test
    return 100 * float(np.mean(model.predict(data.preprocess(x), batch_size=250, verbose=0).argmax(-1) == y))
