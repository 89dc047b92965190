"""Takes a few steps of a relaxed ResNet-20, or the same written by hand, and prints the high-water mark in MiB.

Usage: memory_side_darc.py relaxed|written BATCH
"""

import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import darc_parts
from memory_side import high_water_mark_mib


def main():
    """Runs what the arguments say."""
    what, batch = sys.argv[1], darc_parts.batch_of(int(sys.argv[2]))
    if what == "relaxed":
        step = darc_parts.darc_step(darc_parts.relaxed_network(), batch)
    else:
        step = darc_parts.written_step(darc_parts.ByHand(), batch)
    for _ in range(4):
        step()
    print(high_water_mark_mib())


if __name__ == "__main__":
    main()
