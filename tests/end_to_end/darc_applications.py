"""Takes networks of keras.applications through DARC: relaxation, a step, a saved mixture, choosing, TFLite.

    python tests/end_to_end/darc_applications.py                    four networks; some minutes each on one core
    python tests/end_to_end/darc_applications.py MobileNetV2        one of them
    python tests/end_to_end/darc_applications.py --train            and trains them by `compress` on noise

They are untrained, on images of 32x32. Printed are JSON lines; the exit code is 1 if one of them failed.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time
import traceback

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On a processor with AMX oneDNN of TensorFlow 2.21 frees what is no pointer after the gradient of a 1x1 convolution, and
# the process ends in a step of imitation of MobileNetV2; not so without oneDNN.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

import keras  # noqa: E402  (which backend it takes is said above)
import numpy as np  # noqa: E402
from relaxed_networks import OPTIONS, check_forms, settle  # noqa: E402

import tfcompress  # noqa: E402
from tfcompress.methods import DARC  # noqa: E402

CLASSES, SIDE = 4, 32
# A depthwise convolution has nothing cheaper here; "identity" makes shallower models of what has no other replacement.
METHODS = {
    "ResNet50": DARC(**OPTIONS),
    "MobileNetV2": DARC(**OPTIONS, replacements=("3x3DS", "1x1FC", "3x3+1x1", "identity")),
    "EfficientNetB0": DARC(**OPTIONS, replacements=("3x3DS", "1x1FC", "3x3+1x1", "low_rank")),
    "DenseNet121": DARC(**OPTIONS),
}


def network(name):
    """The network with random weights."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=(SIDE, SIDE, 3), classes=CLASSES)
    settle(model, images(16)[0])
    return model


def images(count):
    """Noise, and labels in turn."""
    x = np.random.default_rng(0).random((count, SIDE, SIDE, 3), dtype="float32")
    return x, np.arange(count) % CLASSES


def compressed(model, method, folder):
    """The model by `compress` as a whole, at 0.9 of its multiply-adds, and what its file on disk differs by."""
    x, y = images(32)
    result = tfcompress.compress(model, method, (x, y), flops_budget=0.9, seed=0, verbose=0)
    share = result.after.macs / result.before.macs
    assert share <= 0.9, share
    (file,) = result.export(folder / "exported", formats="tflite").files
    assert not file.suspect, file
    return {"share": round(share, 3), "candidates": len(result.candidates), "TFLite compressed": file.max_difference}


def main():
    """Runs what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="of " + ", ".join(METHODS))
    parser.add_argument("--train", action="store_true", help="compress() as well")
    args = parser.parse_args()
    failed = False
    for name in args.networks or METHODS:
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            try:
                model = network(name)
                line = check_forms(model, METHODS[name], images(4)[0], path)
                if args.train:
                    line |= compressed(model, METHODS[name], path)
            except Exception as error:  # the other networks are still to be seen
                failed, line = True, {"failed": f"{type(error).__name__}: {error}"[:2000]}
                traceback.print_exc()
        print(json.dumps({"network": name, **line, "cpu_s": round(time.process_time() - start, 1)}), flush=True)
        keras.backend.clear_session()
    sys.exit(failed)


if __name__ == "__main__":
    main()
