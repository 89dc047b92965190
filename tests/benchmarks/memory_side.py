"""Trains or compresses a ResNet-56 on random images, and prints the high-water mark of its memory in MiB.

Usage: memory_side.py fit|compress IMAGES STEPS
"""

import os
import pathlib
import re
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np


def high_water_mark_mib():
    """Of this process's resident memory. (`ru_maxrss` would begin with that of the process which started this one.)"""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024


def main():
    """Runs what the arguments say."""
    what, images, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    from tfcompress import compress, methods, zoo

    rng = np.random.default_rng(0)
    x, y = rng.random((images, 32, 32, 3), dtype="float32"), rng.integers(0, 10, images)
    model = zoo.resnet56()
    keras.config.set_max_steps_per_epoch(steps)  # for both; the most that is held at once is the same in every step
    if what == "fit":
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model.fit(x, y, batch_size=128, epochs=5, validation_split=0.1, verbose=0)
    else:
        method = methods.RLAL(epochs=4, finetune_epochs=1, episodes_per_epoch=1, joint=True)
        result = compress(model, method, (x, y), flops_budget=0.5, verbose=0)
        assert result.after.macs <= result.before.macs / 2
    print(f"{high_water_mark_mib():.0f}")


if __name__ == "__main__":
    main()
