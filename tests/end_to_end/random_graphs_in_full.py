"""Builds random graphs from all supported operations, cuts each, and asks the three oracles.

Of each graph: the masked original equals the cut model, the cost predicted from the plan equals the cost counted on
the built model, and the saved and loaded model equals the cut one. From the root of the repository:

    PYTHONPATH=. python tests/end_to_end/random_graphs_in_full.py --examples 600

takes about 10 minutes on one core. With `--structural`, parts are removed, replaced and reconfigured as well, and the
channels are those of what is left; outputs are compared too where parts are only removed and weights inherited. It
prints how often each operation occurred. A failure prints the smallest graph that still fails as a Python program, and
ends the run. `test_random_graphs.py` runs a few of the same graphs.
"""

import argparse
import collections
import os
import pathlib
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "helpers"))

import random_graphs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=600, help="how many graphs")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other graphs")
    parser.add_argument("--structural", action="store_true", help="remove, replace and reconfigure parts as well")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure, and list all at the end")
    arguments = parser.parse_args()
    seen, failures, start = random_graphs.Seen(), [], time.monotonic()
    for batch in range(-(-arguments.examples // random_graphs.BATCH)):
        try:
            random_graphs.run_batch(1000 * arguments.seed + batch, seen, structural=arguments.structural)
        except random_graphs.Failure as failure:
            failures.append(batch)
            print(f"batch {batch}: {failure}", flush=True)
            if not arguments.keep_going:
                break
        if batch % 5 == 4:
            print(f"{seen.graphs} graphs, {time.monotonic() - start:.0f} s", flush=True)
    _print_counts(seen, time.monotonic() - start)
    if failures:
        sys.exit(f"{len(failures)} failures, in the batches {failures}")


def _print_counts(seen, seconds):
    for what, counts in (("operations of the generator", seen.operations), ("layers and operations", seen.names)):
        ordered = collections.Counter(counts).most_common()
        print(f"{what}: " + ", ".join(f"{name} {count}" for name, count in ordered))
    never = sorted(set(random_graphs.OPERATIONS) - set(seen.operations))
    print(f"operations of the generator that never occurred: {', '.join(never) or 'none'}")
    print(f"handlers that no graph met: {', '.join(seen.handlers_not_met()) or 'none'}")
    print("plans with edits: " + ", ".join(f"{name} {count}" for name, count in sorted(seen.edits.items())))
    words = f"{seen.both} of them with cut channels as well; of {seen.compared} outputs were compared"
    print(f"{seen.structural} graphs with structural edits, {words}")
    print(f"{seen.graphs} graphs, {seen.cut} of them cut, {seen.felt} with other outputs then; {seconds:.0f} s")


if __name__ == "__main__":
    main()
