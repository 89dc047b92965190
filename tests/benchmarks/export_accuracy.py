"""Measures what TFLite files cost in accuracy, on the trained networks of savedmodels/teachers.

    PYTHONPATH=. python tests/benchmarks/export_accuracy.py --forms float32 int8 int4 mixed

Each file is written by `tfcompress.export.export`, calibrated with 256 training images and run in LiteRT on the whole
test split of CIFAR-10 or Fashion-MNIST (tensorflow-datasets). It prints a table in Markdown: accuracy in percent, and
the size of the file. Networks for images of half the size (`*_half`) read means of 2x2 pixels.
"""

import argparse
import json
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow_datasets as tfds

from tfcompress.export import export, run_tflite

TEACHERS = pathlib.Path(__file__).resolve().parents[2] / "savedmodels" / "teachers"
CALIBRATION = 256


def images_of(data: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images in [0, 1] [samples, height, width, channels] and labels [samples]."""
    name = data.removesuffix("_half")
    batch = tfds.as_numpy(tfds.load(name, split=split, batch_size=-1))
    images = batch["image"].astype("float32") / 255
    if data.endswith("_half"):
        count, height, width, channels = images.shape
        images = images.reshape(count, height // 2, 2, width // 2, 2, channels).mean((2, 4))
    return images, batch["label"]


def measured(path: pathlib.Path, forms: list[str], count: int | None) -> dict[str, tuple[float, int]]:
    """Returns accuracy in percent and bytes by form."""
    facts = json.loads(path.with_suffix(".json").read_text())
    model = keras.models.load_model(path, compile=False)
    calibration, _ = images_of(facts["data"], f"train[:{CALIBRATION}]")
    images, labels = images_of(facts["data"], "test" if count is None else f"test[:{count}]")

    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        report = export(model, folder, "tflite", forms, calibration, images[:CALIBRATION], on_mismatch="warn")
        for file in report.files:
            (outputs,) = run_tflite(file.path, images).values()
            right = outputs.argmax(-1) == labels
            rows[str(file.quantize)] = (100 * float(right.mean()), file.bytes)
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", nargs="+", default=["float32", "int8", "int4", "mixed"])
    parser.add_argument("--networks", nargs="+", default=[path.stem for path in sorted(TEACHERS.glob("*.keras"))])
    parser.add_argument("--images", type=int, default=None, help="test images (default: all)")
    args = parser.parse_args()
    print("| network | " + " | ".join(args.forms) + " |")
    print("|---" * (1 + len(args.forms)) + "|")
    for name in args.networks:
        rows = measured(TEACHERS / f"{name}.keras", args.forms, args.images)
        cells = [f"{rows[form][0]:.2f} ({rows[form][1] / 1000:,.0f} kB)" for form in args.forms]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
