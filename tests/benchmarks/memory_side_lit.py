"""Takes a few LIT steps, or the same written out by hand, and prints the high-water mark of its memory in MiB.

Usage: memory_side_lit.py lit|plain BETA
"""

import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import lit_parts
from memory_side import high_water_mark_mib


def main():
    """Runs what the arguments say."""
    what, beta = sys.argv[1], float(sys.argv[2])
    pair = lit_parts.Pair(batch=256)
    with pair.held():
        step = pair.step(beta) if what == "lit" else pair.plain_step(beta)
        for _ in range(4):
            step()
    print(high_water_mark_mib())


if __name__ == "__main__":
    main()
