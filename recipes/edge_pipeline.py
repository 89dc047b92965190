"""From a trained network to a file for an edge device in six ways, each measured on the exported file.

    python recipes/edge_pipeline.py --out runs/edge

All rows begin with the trained network of `--model`:

    float32            the network as it is
    int8               the same, quantised after training
    qat                quantisation-aware training
    rlal, int8         RLAL at `--flops-share` of the multiply-adds, then int8 after training
    lit, rlal, qat     one flow of three methods at the same share
    knapsack, int8     widths for `--latency-share` of the latency, chosen exactly, then int8 after training

Accuracy is that of the written file on the test split, which is read once for each row; latency is the median of one
invocation in LiteRT, one sample, one thread; bytes are those of the file.

ResNet-20 on CIFAR-10, 4,500 images, 10 epochs a stage (LIT 20 of fine-tuning as well), 5 of QAT, seed 0; tensorflow
2.21.0, keras 3.15.1, tensorflow-model-optimization 0.8.1, ai-edge-litert 2.3.0, two busy cores of an AMD EPYC, some 40
minutes with other work beside it:

                       MACs  accuracy     ms      bytes
    float32            100%     88.27  0.403  1,092,664
    int8               100%     88.28  0.129    306,840
    qat                100%     88.14  0.128    306,960
    rlal, int8        49.9%     86.29  0.102    193,104
    lit, rlal, qat    49.5%     84.84  0.093    176,088
    knapsack, int8    38.5%     83.09  0.089    112,096

- Quantisation alone takes two thirds off the latency and costs nothing here, so QAT has nothing to win back.
- The knapsack has `--latency-share` of the latency in float32, for which it keeps fewer multiply-adds than the others,
  so rows of halves are not to be compared with it at equal cost. In int8 it is hardly faster than theirs.
- LIT in front of RLAL keeps as many multiply-adds; the file is a little faster and smaller, and loses 1.4 points.
"""

import pathlib

import keras
import numpy as np
import runner

from tfcompress.costs import device, measure_latency
from tfcompress.export import convert, run_tflite
from tfcompress.methods import LIT, QAT, RLAL, Knapsack

_CALIBRATION = 256  # images


def model(name, data, args):
    """Returns the trained network, or a tiny fresh one with `--smoke`."""
    del name
    keras.utils.set_random_seed(0)  # so that a fresh network is the same one each time
    return runner.from_file("resnet", data, args)


def runs(args):
    """Returns the runs; `after` writes and measures a file of each result."""
    training = {"epochs": args.epochs}
    rlal = RLAL(
        **training,
        joint=False,
        episodes=args.episodes,
        local_search=args.local_search,
        reward_images=args.reward_images,
    )
    qat = QAT(epochs=args.qat_epochs)
    # With --smoke the network takes as long as the clock, so there the multiply-adds are limited.
    limit = {"macs": args.flops_share} if args.smoke else {"latency_ms": args.latency_share}
    made = {
        "qat": runner.Run("qat", qat),
        "rlal, int8": runner.Run("rlal, int8", rlal, flops_budget=args.flops_share),
        "lit, rlal, qat": runner.Run("lit, rlal, qat", [LIT(**training), rlal, qat], flops_budget=args.flops_share),
        "knapsack, int8": runner.Run("knapsack, int8", Knapsack(**training), budget=limit),
    }
    return [made[name] for name in args.methods]


def after(results, data, args):
    """Writes a file of the original and of each result, measures it, and prints the table."""
    folder = None if args.out is None else pathlib.Path(args.out) / "files"
    original = model("", data, args)
    rows = [("", "accuracy", "ms", "bytes")]
    calibration = data.preprocess(data.arrays.train[0][:_CALIBRATION])
    rows.append(_row("float32", convert(original), data, folder))
    rows.append(_row("int8", convert(original, "int8", calibration), data, folder))
    for run, (result, *_) in results.items():
        content = result.files.get("qat") or convert(result.model, "int8", calibration)
        rows.append(_row(run.name, content, data, folder))
    runner.show(rows)
    print(", ".join(f"{key}: {value}" for key, value in device().items()))


def _row(name, content, data, folder):
    """Returns the row of a file, measured; writes the file into the folder, if there is one."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name.replace(', ', '_')}.tflite").write_bytes(content)
    images, labels = data.arrays.test if data.arrays.test is not None else data.arrays.train
    (outputs,) = run_tflite(content, data.preprocess(images)).values()
    accuracy = np.mean(np.argmax(outputs, axis=-1) == np.ravel(labels))
    return name, f"{100 * accuracy:.2f}", f"{measure_latency(content).median_ms:.3f}", f"{len(content):,}"


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/resnet20_cifar10.keras",
        "data": "cifar10",
        "images": {"default": 5000, "help": "number of training images, including the held-out tenth"},
        "flops_share": {"default": 0.5, "help": "share of the multiply-adds to keep"},
        "latency_share": {"default": 0.6, "help": "share of the latency to keep"},
        "epochs": {"default": 10, "help": "epochs of training of each stage but QAT"},
        "qat_epochs": {"default": 5, "help": "epochs of quantisation-aware training"},
        "episodes": 100,
        "local_search": 50,
        "reward_images": 500,
        "seeds": [0],
        "methods": ["qat", "rlal, int8", "lit, rlal, qat", "knapsack, int8"],
        "out": None,
    },
    "smoke": {
        "data": "digits",
        "images": 100,
        "flops_share": 0.6,
        "epochs": 1,
        "qat_epochs": 1,
        "episodes": 2,
        "local_search": 0,
        "reward_images": 10,
    },
    "model": model,
    "runs": runs,
    "after": after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
