"""What compressing holds in memory at most, against plain training."""

import pathlib
import statistics
import subprocess
import sys

import measuring

_SIDE = pathlib.Path(__file__).with_name("memory_side.py")
_IMAGES, _STEPS, _PAIRS = 10_000, 6, 2


def peak_mib(what):
    """The high-water mark of a fresh process that trains or compresses."""
    command = [sys.executable, str(_SIDE), what, str(_IMAGES), str(_STEPS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


def test_compress(table):
    """compress() in all of its phases against `fit` with the same images, batches and number of epochs."""
    pairs = [(peak_mib("compress"), peak_mib("fit")) for _ in range(_PAIRS)]
    ours, reference = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(a / b for a, b in pairs)
    note = (
        f"{_PAIRS} pairs of fresh processes; ResNet-56, {_IMAGES:,} random images of CIFAR size; 4 epochs of joint "
        f"training with episodes and 1 of fine-tuning against 5 of fit, each cut to {_STEPS} steps"
    )
    table.add(
        measuring.Row(
            "peak memory of compress / fit", f"{ours:.0f} MiB", f"{reference:.0f} MiB", f"{ratio:.2f}", "", 2.0, note
        )
    )
