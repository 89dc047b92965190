"""Draws random plans of both stages of N2N for six teachers, and checks each of them.

A plan is refused before anything is built, or its student builds, runs, and costs what was predicted. From the root of
the repository:

    PYTHONPATH=. python tests/end_to_end/random_students.py --plans 1000

draws as many for each of ResNet-18, VGG-16, MobileNetV2 and three small networks, by the rules of the paper's text and
by those of its authors' code. A failure prints the plan as JSON and ends the run. `test_random_students.py` draws a few
of the same plans.
"""

import argparse
import os
import pathlib
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "helpers"))

import drawn_students


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", type=int, default=1000, help="how many for each teacher")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other plans")
    parser.add_argument("teachers", nargs="*", default=list(drawn_students.MODELS), help="which of them; all of them")
    arguments = parser.parse_args()
    for name in arguments.teachers:
        start, cpu = time.monotonic(), time.process_time()
        tally = drawn_students.run(name, arguments.plans, arguments.seed)
        print(
            f"{name}: {sum(tally.built.values())} built {dict(tally.built)}, refused {dict(tally.refused)}, edits "
            f"{dict(tally.edits)}; {time.monotonic() - start:.0f} s, {time.process_time() - cpu:.0f} s of CPU",
            flush=True,
        )


if __name__ == "__main__":
    main()
