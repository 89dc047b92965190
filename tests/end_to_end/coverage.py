"""Prunes every model of keras.applications, KerasHub backbones and all topologies to half their MACs, and checks them.

    python tests/end_to_end/coverage.py --out docs/coverage.md

Each model is pruned with Uniform as it is made (random weights, smallest input), and then:

1. the original in which nothing reads the removed channels gives the outputs of the cut model;
2. the predicted cost is the counted cost, and that of a walk through the cut model;
3. the saved and loaded model gives the outputs of the cut model;
4. so does its TFLite file, run by LiteRT.

Rows are kept in `--work`, one JSON file each: a run that was killed goes on where it stopped, and models that failed
are tried again. Every application has a process of its own, so that its memory is given back.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Without this folder: its `coverage` is not the one that other packages look for.
_OTHERS = [path for path in sys.path if path != str(pathlib.Path(__file__).parent)]
sys.path[:] = [str(ROOT / "tests" / "helpers"), str(ROOT), *_OTHERS]
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # for channels_first convolutions

import coverage_models  # noqa: E402
import coverage_table  # noqa: E402

KINDS = (coverage_models.TOPOLOGY, coverage_models.HUB, coverage_models.APPLICATION)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="the Markdown file to write; without it the table is printed")
    parser.add_argument("--work", default=str(pathlib.Path(tempfile.gettempdir()) / "tfcompress-coverage"))
    parser.add_argument("--only", default="", help="models whose `kind/name` contains this")
    parser.add_argument(
        "--table", action="store_true", help="writes the table of the rows that are there, runs nothing"
    )
    parser.add_argument("--rows", nargs="+", help=argparse.SUPPRESS)  # what a process of this script is to run
    options = parser.parse_args(arguments)
    work = pathlib.Path(options.work)
    work.mkdir(parents=True, exist_ok=True)
    if options.rows:
        for path in options.rows:
            write_row(work, *path.split("/", 1))
        return 0
    wanted = [(kind, name) for kind in KINDS for name in coverage_models.names(kind)]
    wanted = [pair for pair in wanted if options.only in "/".join(pair)]
    if not wanted:
        parser.error(f"Expected --only to be a part of a model's `kind/name`. Received: {options.only!r}")
    if not options.table:
        sweep(work, wanted)
    rows = [row for row in (read(work, *pair) for pair in wanted) if row]
    text = coverage_table.markdown(rows, ["/".join(pair) for pair in wanted], platform.python_version())
    if options.out:
        pathlib.Path(options.out).write_text(text)
    else:
        print(text)
    bad = [row for row in rows if row["failures"]]
    for row in bad:
        print(f"FAILED {row['kind']}/{row['name']}: {'; '.join(row['failures'])}", file=sys.stderr)
    return 1 if bad or len(rows) < len(wanted) else 0


def sweep(work, wanted):
    """Runs what is not there yet: topologies in one process, then each other model in its own, the largest last."""
    open_rows = [pair for pair in wanted if (read(work, *pair) or {"failures": ["missing"]})["failures"]]
    small = [pair for pair in open_rows if pair[0] == coverage_models.TOPOLOGY]
    while small:
        run(work, small)
        done = [pair for pair in small if is_fresh(work, pair)]
        if len(done) < len(small):  # the process ended in the first that is not there
            broken = next(pair for pair in small if pair not in done)
            write(work, *broken, {"failures": ["its process ended"]})
        small = [pair for pair in small if not is_fresh(work, pair)]
    large = [pair for pair in open_rows if pair[0] != coverage_models.TOPOLOGY]
    for pair in sorted(large, key=lambda pair: (KINDS.index(pair[0]), coverage_models.size_hint(*pair))):
        code = run(work, [pair])
        if not is_fresh(work, pair):
            write(work, *pair, {"failures": [f"its process ended with {code}"]})


STARTED = time.time()


def is_fresh(work, pair):
    """Whether this run of the script has written the row."""
    path = place(work, *pair)
    return path.exists() and path.stat().st_mtime >= STARTED


def run(work, pairs):
    """A process of this script for these rows; returns its exit code."""
    sys.stdout.flush()
    command = [sys.executable, __file__, "--work", str(work), "--rows", *map("/".join, pairs)]
    return subprocess.run(command, check=False).returncode


def write_row(work, kind, name):
    """Prunes and checks one model, and writes what came out."""
    import coverage_checks

    try:
        row = coverage_checks.row(kind, name)
    except Exception as error:
        traceback.print_exc()
        row = {"failures": [f"{type(error).__name__}: {error}"]}
    write(work, kind, name, row)
    state = "; ".join(row["failures"]) or "ok"
    print(f"{kind}/{name}: {row.get('seconds', 0):.0f} s, {state}", flush=True)


def place(work, kind, name):
    return work / f"{kind}-{name}.json"


def write(work, kind, name, row):
    path = place(work, kind, name)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"kind": kind, "name": name, **row}, indent=1))
    part.replace(path)


def read(work, kind, name):
    path = place(work, kind, name)
    return json.loads(path.read_text()) if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
