"""Compares `tfcompress.cost` with TensorFlow's profiler on every model of keras.applications, and writes docs/macs.md.

    python tests/end_to_end/macs.py                  all models, small ones first; 20 minutes on one busy core
    python tests/end_to_end/macs.py --only ResNet50  some of them, as JSON lines; writes nothing

The models are found by iterating over the module, and built without weights at the smallest square input that each
accepts. Each is counted in a process of its own, as what a large one needs is given back only then. The exit code is 1
if the two counts differ in any layer of any model.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

import keras  # noqa: E402  (which backend it takes is said above, and where the helpers lie)
from applications import constructors, smallest  # noqa: E402
from keras import layers  # noqa: E402
from profiler import MULTIPLY_ADDS, Comparison, compare  # noqa: E402

# One layer each, called on inputs of these shapes: where TensorFlow counts otherwise, and where it does not.
LAYERS = (
    (layers.Conv1D(5, 3, name="Conv1D"), [(11, 3)], ""),
    (layers.Conv2D(5, 3, name="Conv2D"), [(11, 11, 3)], ""),
    (layers.Conv2D(6, 3, groups=3, name="Conv2D, groups=3"), [(11, 11, 3)], "in an XLA function"),
    (
        layers.Conv2D(5, 3, dilation_rate=2, name="Conv2D, dilation_rate=2"),
        [(11, 11, 3)],
        "TensorFlow pads the 11 x 11 positions to 12 x 12, and counts the 8 x 8 outputs of that",
    ),
    (layers.Conv3D(5, 3, name="Conv3D"), [(7, 11, 11, 3)], ""),
    (layers.DepthwiseConv1D(3, name="DepthwiseConv1D"), [(11, 3)], ""),
    (layers.DepthwiseConv2D(3, depth_multiplier=2, name="DepthwiseConv2D"), [(11, 11, 3)], ""),
    (layers.SeparableConv2D(5, 3, name="SeparableConv2D"), [(11, 11, 3)], ""),
    (layers.Conv2DTranspose(5, 3, strides=2, padding="same", name="Conv2DTranspose, same"), [(7, 7, 3)], ""),
    (
        layers.Conv2DTranspose(5, 3, strides=2, padding="valid", name="Conv2DTranspose, valid"),
        [(7, 7, 3)],
        "TensorFlow takes output positions / strides (15 x 15 / 4) for the 7 x 7 input positions",
    ),
    (
        layers.Conv3DTranspose(5, 3, name="Conv3DTranspose"),
        [(7, 7, 7, 3)],
        "the profiler has no rule for the operation",
    ),
    (layers.Dense(5, name="Dense"), [(7, 3)], ""),
    (layers.EinsumDense("abc,cd->abd", (None, 5), name="EinsumDense"), [(7, 3)], ""),
    (layers.TimeDistributed(layers.Dense(5), name="TimeDistributed"), [(7, 3)], ""),
    (layers.LSTM(5, name="LSTM"), [(7, 3)], "the profiler counts the loop's body once, for one step of seven"),
    (layers.GRU(5, name="GRU"), [(7, 3)], "likewise"),
    (
        layers.MultiHeadAttention(2, 5, name="MultiHeadAttention"),
        [(7, 3), (7, 3)],
        "the profiler has no rule for Einsum, with which the heads meet",
    ),
)


def by_size():
    """Names of all models, those with few parameters first; no variable of them is made."""
    sizes = {}
    for name in constructors():
        with keras.StatelessScope():
            sizes[name] = smallest(name).count_params()
    return sorted(sizes, key=sizes.get)


def compared(names):
    """`{name: (side, Comparison)}`, each from a process of its own."""
    found = {}
    for number, name in enumerate(names, start=1):
        ended = subprocess.run([sys.executable, __file__, "--one", name], check=True, stdout=subprocess.PIPE, text=True)
        answer = json.loads(ended.stdout.splitlines()[-1])
        found[name] = answer["side"], Comparison(**answer["comparison"])
        print(f"{number}/{len(names)} {name}: {ended.stdout.splitlines()[-1][:200]}", flush=True)
    return found


def agrees(comparison):
    """Whether every multiply-add of either count is in the other, layer by layer."""
    return not comparison.differences and not comparison.unplaced


def document(found):
    """The text of docs/macs.md."""
    kinds = collections.Counter(kind for _, c in found.values() for kind in c.uncounted.values())
    names = [name for name in constructors() if name in found]
    unknown = [name for name in names if found[name][1].unknown]
    same = sum(agrees(found[name][1]) for name in names)
    text = [
        "# Multiply-adds, against TensorFlow's profiler",
        "",
        "<!-- tests/end_to_end/macs.py writes this file. -->",
        "",
        "`tfcompress.cost(model)` counts the multiply-adds (MACs) of one forward pass of one sample: a multiplication and"
        " the addition of its product are one MAC, and FLOPs are 2 x MACs. `params` are learned weights without running"
        " statistics, as a number; `bytes` is what all weights take in memory, in bytes.",
        "",
        "`python tests/end_to_end/macs.py` made this page. It builds every model of keras.applications without weights, at"
        " the smallest square input that its constructor accepts, and compares layer by layer with the float operations"
        f" that TensorFlow's profiler counts for {', '.join(MULTIPLY_ADDS)}; two of them are one MAC.",
        "",
        f"**{same} of {len(names)} models agree in every layer.**",
        "",
        "| model | input | MACs by tfcompress | float operations / 2 by the profiler | difference | layers in both counts |"
        " layers not counted | what else the profiler counts |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        side, c = found[name]
        half = f"{c.half_float_ops:,.0f}"
        text.append(
            f"| {name} | {side} x {side} | {c.macs:,} | {half} | {c.macs - c.half_float_ops:+,.0f} | {c.layers} |"
            f" {len(c.uncounted)} | {c.other_float_ops / 2 / c.half_float_ops:.1%} |"
        )
    text += [
        "",
        "The last column is everything else to which the profiler gives float operations (biases, BatchNormalization,"
        " activations, pooling, sums): their float operations / 2, as a share of the column of the profiler.",
        "",
        *_differing(found, names),
        "## What is not counted",
        "",
        "`tfcompress.cost(model).uncounted` lists by name the layers and operations without counted multiply-adds;"
        " `.unknown` those among them that no handler knows. Layers without a handler, and layers that hold other layers"
        " in ways that no handler describes, are counted in the graph that TensorFlow makes of them, loops included;"
        " `.unmeasured` names those of which it does not show all (code outside TensorFlow, unknown sizes, weights that"
        " are multiplied elementwise). Where one of them holds more than a tenth of the parameters, a `flops_budget` is"
        " refused. Of the models"
        f" above, {len(unknown) or 'none'} have unknown layers{': ' if unknown else ''}{', '.join(unknown)}. The classes"
        " of what is not counted, with how often they occur in all models together:",
        "",
        ", ".join(f"{kind} ({count:,})" for kind, count in sorted(kinds.items(), key=lambda item: -item[1])) + ".",
        "",
        "## Where TensorFlow counts otherwise",
        "",
        "The profiler looks at the operations that a layer becomes. Measured on models of one layer:",
        "",
        "| layer | input | MACs by tfcompress | float operations / 2 by the profiler | why |",
        "|---|---|---|---|---|",
        *_single_layers(),
        "",
        "- Keras runs a grouped convolution with channels last in an XLA function, which the profiler passes over when it"
        " is given the model. The script gives it the function's own graph as well; of the models above that concerns"
        f" {', '.join(name for name in names if found[name][1].of_functions) or 'none'}.",
        "- Biases are BiasAdd operations of their own to the profiler, so that no multiply-add contains them.",
        "- tfcompress counts padded positions as the profiler does: every kernel position at every output position.",
    ]
    return "\n".join(text) + "\n"


def _differing(found, names):
    lines = []
    for name in names:
        c = found[name][1]
        lines += [f"| {name} | {layer} | {a:,} | {b:,.1f} |" for layer, (a, b) in c.differences.items()]
        lines += [f"| {name} | (no layer) {node} | | |" for node in c.unplaced]
    if not lines:
        return []
    return ["| model | layer | MACs | float operations / 2 |", "|---|---|---|---|", *lines, ""]


def single_layers():
    """`[(name, shapes, Comparison, why)]` of LAYERS."""
    rows = []
    for layer, shapes, why in LAYERS:
        inputs = [keras.Input(shape) for shape in shapes]
        config = {**layer.get_config(), "name": "layer"}
        model = keras.Model(inputs, type(layer).from_config(config)(*inputs))
        rows.append((layer.name, shapes, compare(model), why))
    return rows


def _single_layers():
    for name, shapes, c, why in single_layers():
        yield f"| {name} | {shapes[0]} | {c.macs:,} | {c.half_float_ops:,.1f} | {why or 'equal'} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(constructors()), metavar="MODEL")
    parser.add_argument("--one", choices=list(constructors()), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        model = smallest(args.one)
        print(json.dumps({"side": model.input_shape[1], "comparison": dataclasses.asdict(compare(model))}))
        return 0
    found = compared(args.only or by_size())
    if not args.only:
        (ROOT / "docs" / "macs.md").write_text(document(found))
    return 0 if all(agrees(comparison) for _, comparison in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
