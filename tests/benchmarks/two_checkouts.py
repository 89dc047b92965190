"""Measures another checkout against this one, side by side, and pruning against Keras' own copy of a model.

    python two_checkouts.py OTHER [--ours PATH] [--pairs 7] [--only NAME ...]   ours / other, as Markdown
    python two_checkouts.py --clone [--pairs 7]                                 apply / keras.models.clone_model

Each checkout has a process of its own that waits while the other one works; both are asked in turn (A B B A ...). What
each is asked is written against `prune` of its own tests/benchmarks/test_uniform.py and `task_for` of its test_rlal.py,
so that both may differ in how they are called. Images are 64x64: neither the graph nor the number of weights depends
on it.
"""

import argparse
import functools
import gc
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

_HERE = pathlib.Path(__file__).resolve().parent
_PLANS = 200  # whose costs are predicted for one measurement
_IMPORT = (
    "import time, keras; t, c = time.perf_counter(), time.process_time(); import tfcompress; tfcompress.compress; "
    "print(time.perf_counter() - t, time.process_time() - c)"
)
NAMES = (
    "Uniform on ResNet50",
    "Uniform on DenseNet121",
    "inspect of ResNet50",
    "cost of a plan of ResNet-56",
    "RLAL episode on ResNet-56",
    "import tfcompress",
)


@functools.cache
def application(name):
    import keras

    return getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))


@functools.cache
def plan_costs():
    import numpy as np

    from tfcompress import zoo
    from tfcompress.costs import CostModel
    from tfcompress.graph import ChannelGroups, LayerGraph

    costs = CostModel(ChannelGroups.of(LayerGraph.from_keras(zoo.resnet56())))
    sizes = np.array([group.size for group in costs.groups])
    return costs, np.random.default_rng(0).integers(1, sizes + 1, (_PLANS, len(sizes)))


@functools.cache
def episodes():
    import test_rlal

    from tfcompress import data, zoo
    from tfcompress.importance import l1_norm
    from tfcompress.methods.episodes import Episodes

    model = zoo.resnet56()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = test_rlal.images(500)
    splits = data.splits((x, y), validation_data=(x, y), input_shape=model.input_shape, classes=10)
    made = Episodes(test_rlal.task_for(model, splits), l1_norm, 500)
    made.rank()
    return made


def action(name):
    """The thing to be measured, as a function without arguments; all that it needs is made before."""
    import test_uniform

    import tfcompress

    if name.startswith("Uniform on "):
        model = application(name.removeprefix("Uniform on "))
        return lambda: test_uniform.prune(model)
    if name == "inspect of ResNet50":
        model = application("ResNet50")
        return lambda: tfcompress.inspect(model, [].append)
    if name == "cost of a plan of ResNet-56":
        costs, kept = plan_costs()
        return lambda: [costs.of_kept(row) for row in kept]
    played = episodes()
    return lambda: (played.rank(), played.play(lambda state: 0.5))


def serve(checkout):
    """Answers lines with names by lines with seconds, `[wall, CPU]`."""
    sys.path[:0] = [str(checkout), *(str(pathlib.Path(checkout, "tests", name)) for name in ("benchmarks", "helpers"))]
    import measuring

    import tfcompress

    assert pathlib.Path(tfcompress.__file__).is_relative_to(pathlib.Path(checkout).resolve()), tfcompress.__file__
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        span = measuring.timed(action(line.strip()))
        print(json.dumps([span.wall_s, span.cpu_s]), file=answers, flush=True)


class Side:
    """A checkout in a process of its own."""

    def __init__(self, checkout):
        self._checkout = str(pathlib.Path(checkout).resolve())
        self._bytecode = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", self._checkout],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def measure(self, name):
        import measuring

        if name == "import tfcompress":
            code = f"import sys; sys.path.insert(0, {self._checkout!r}); {_IMPORT}"
            # With its bytecode stored, as everywhere but at the very first import.
            environment = {**os.environ, "PYTHONPYCACHEPREFIX": self._bytecode.name}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
            )
            return measuring.Span(*map(float, done.stdout.split()))
        print(name, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"Expected an answer for {name!r}. Received none from {self._checkout}")
        return measuring.Span(*json.loads(line))

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._bytecode.cleanup()


def compare(other, ours, names, pairs):
    """Rows of `ours / other`."""
    import measuring

    sides = Side(ours), Side(other)
    table = measuring.Table()
    for name in names:
        for side in sides:
            side.measure(name)  # warms up
        found = []
        for number in range(pairs):
            order = sides if number % 2 == 0 else sides[::-1]
            spans = {side: side.measure(name) for side in order}
            found.append((spans[sides[0]], spans[sides[1]]))
        note = f"{_PLANS} plans" if name.startswith("cost") else "64x64" if "Net50" in name or "Net121" in name else ""
        table.add(measuring.ratio_row(name, found, 1.05, note))
    for side in sides:
        side.close()
    return table


def clone(pairs):
    """The row of `apply` of a plan that halves ResNet50 / `clone_model` of ResNet50."""
    sys.path[:0] = [str(_HERE.parents[1]), str(_HERE.parent / "helpers")]
    import keras
    import measuring
    import test_uniform

    from tfcompress import rewrite

    model, caught = application("ResNet50"), []
    carried_out = test_uniform.apply
    test_uniform.apply = lambda *args: caught.append(args) or carried_out(*args)
    test_uniform.prune(model)
    test_uniform.apply = carried_out
    (arguments,) = caught

    def timed(action):
        gc.collect()  # a model is full of cycles: what the other side left behind would be cleared away on this one's time
        return measuring.timed(action)

    found = measuring.interleaved(
        lambda: timed(lambda: rewrite.apply(*arguments)),
        lambda: timed(lambda: keras.models.clone_model(model)),
        pairs,
    )
    table = measuring.Table()
    table.add(
        measuring.ratio_row("apply, ResNet50 to half / clone_model", found, 0.9, "64x64; clone copies no weights")
    )
    return table


def main():
    """Reads the command line, and prints the table."""
    sys.path.insert(0, str(_HERE))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", nargs="?", help="folder of the other checkout")
    parser.add_argument("--ours", default=_HERE.parents[1], help="folder of this one")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--clone", action="store_true", help="measure apply against keras.models.clone_model")
    parser.add_argument("--serve", metavar="CHECKOUT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
    elif args.clone:
        print(*clone(args.pairs).lines(), sep="\n")
    elif args.other:
        start = time.perf_counter()
        print(*compare(args.other, args.ours, args.only, args.pairs).lines(), sep="\n")
        print(f"\n{time.perf_counter() - start:.0f} s")
    else:
        parser.error("Expected the folder of another checkout, or --clone.")


if __name__ == "__main__":
    main()
