"""Runs Random, RLAL (both ways), AMC, Taylor pruning, N2N and LIT on every model of docs/coverage.md at its smallest, as short as each allows.

    python tests/end_to_end/every_method.py --work /tmp/every-method

A line for each model and method goes to the screen and to `answers.jsonl` in `--work`; what is there is not run again. The
exit code is 1 where anything failed. All of it takes some hours on two cores; `--only topology/` some minutes.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
_OTHERS = [path for path in sys.path if path != str(pathlib.Path(__file__).parent)]
sys.path[:] = [str(ROOT / "tests" / "helpers"), str(ROOT), *_OTHERS]
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # for channels_first convolutions

import coverage_models  # noqa: E402
import keras  # noqa: E402

import tfcompress  # noqa: E402

KINDS = (coverage_models.TOPOLOGY, coverage_models.HUB, coverage_models.APPLICATION)
METHODS = {
    "random": tfcompress.methods.Random(tries=2, epochs=0),
    "rlal": tfcompress.methods.RLAL(epochs=4, episodes_per_epoch=1, batch_size=4, learning_rate=1e-6, joint=True),
    "rlal, fixed weights": tfcompress.methods.RLAL(episodes=2, local_search=1, epochs=0, joint=False),
    "amc": tfcompress.methods.AMC(episodes=2, exploring=1, epochs=0),
    "taylor": tfcompress.methods.TaylorPruning(runs=1, filters=10**9, updates=1, epochs=0, batch_size=4),
    "n2n": tfcompress.methods.N2N(updates=1, rollouts=1, score_epochs=1, epochs=0, batch_size=4),
    "lit": tfcompress.methods.LIT(epochs=1, finetune_epochs=0, batch_size=4, learning_rate=1e-4, beta=0),
}
# Refusals that are right for some models: nothing repeats, nothing can be pruned, no rewards to learn from.
REFUSED = ("ValueError", "TypeError")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models whose `kind/name` contains this")
    parser.add_argument("--work", default=str(pathlib.Path(tempfile.gettempdir()) / "tfcompress-every-method"))
    options = parser.parse_args()
    path = pathlib.Path(options.work) / "answers.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    answers = {(entry["model"], entry["method"]): entry for entry in map(json.loads, lines)}
    wanted = [(kind, name) for kind in KINDS for name in coverage_models.names(kind)]
    small = [pair for pair in wanted if pair[0] == coverage_models.TOPOLOGY]
    large = [pair for pair in wanted if pair[0] != coverage_models.TOPOLOGY]
    wanted = [*small, *sorted(large, key=lambda pair: coverage_models.size_hint(*pair))]
    for kind, name in wanted:
        model = f"{kind}/{name}"
        for method in METHODS:
            if options.only in model and (model, method) not in answers:
                answers[model, method] = entry = {"model": model, "method": method, **run(kind, name, METHODS[method])}
                print(" ".join(str(value) for value in entry.values()), flush=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
    return any(entry["answer"].startswith("FAILED") for entry in answers.values())


def run(kind, name, method):
    """What the method makes of the model on eight samples, whose labels are the model's own outputs."""
    subject = coverage_models.subject(kind, name)
    start = time.monotonic()
    inputs = subject.inputs
    labels = keras.tree.map_structure(_as_float32, subject.model.predict(inputs, verbose=0))
    outputs = keras.tree.flatten(labels)
    subject.model.compile("sgd", keras.tree.map_structure(lambda _: "mse", labels) if len(outputs) > 1 else "mse")
    objective = None
    if len(outputs) > 1:

        def objective(y, found):
            first, second = (keras.ops.cast(keras.tree.flatten(part)[0], "float32") for part in (y, found))
            squares = keras.ops.square(first - second)
            return -keras.ops.mean(keras.ops.reshape(squares, (keras.ops.shape(squares)[0], -1)), axis=1)

    data = (inputs, labels)
    answer, share = "", 0.9
    while not answer:
        try:
            result = tfcompress.compress(
                subject.model, method, data, validation_data=data, flops_budget=share, objective=objective, verbose=0
            )
            answer = f"{result.after.macs / result.before.macs:.3f} of the MACs"
        except Exception as error:
            text = " ".join(str(error).split())
            reachable = re.search(r"can (?:be reached|reach): at least (\d\.\d+) of", text)
            if reachable and share == 0.9:  # little of the model may be pruned: as much as may
                share = float(reachable[1])
                continue
            ours = type(error).__name__ in REFUSED or type(error).__module__.startswith("tfcompress.")
            told = ours and (text.startswith("Expected") or "NaN or infinite" in text)
            answer = f"{'refused' if told else 'FAILED'}: {type(error).__name__}: {text[:300]}"
    keras.backend.clear_session()
    return {"answer": answer, "seconds": round(time.monotonic() - start)}


def _as_float32(array):
    """Labels in a dtype that numpy knows."""
    return array.astype("float32") if str(array.dtype) == "bfloat16" else array


if __name__ == "__main__":
    sys.exit(main())
