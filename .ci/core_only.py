"""The core alone: the package in an environment without extras, through its command and in Python.

Run by the interpreter of that environment, in a folder with tests/helpers.
"""

import importlib.util
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXTRAS = (
    "tf_agents",
    "tf_keras",
    "tensorflow_model_optimization",
    "tensorflow_datasets",
    "sklearn",
    "matplotlib",
    "pebble",
    "psutil",
    "ray",
)

assert (there := [name for name in EXTRAS if importlib.util.find_spec(name)]) == [], there

sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import numpy as np  # noqa: E402
import small_tasks  # noqa: E402

import tfcompress  # noqa: E402
from tfcompress import methods, outcome  # noqa: E402

package = pathlib.Path(tfcompress.__file__).parent
assert package.is_relative_to(sys.prefix) and (package / "py.typed").exists(), package

temporary = tempfile.TemporaryDirectory()
folder = pathlib.Path(temporary.name)
model, (x, y) = small_tasks.trained_network(), small_tasks.pictures()
model.save(folder / "model.keras")
np.savez(folder / "set.npz", x=x, y=y)

command = pathlib.Path(sys.executable).with_name("tfcompress")
begun = [
    subprocess.Popen([command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for arguments in (
        ("methods",),
        ("inspect", folder / "model.keras"),
        (
            *("compress", folder / "model.keras", "--method", "uniform", "--epochs", "1", "--flops-budget", "0.5"),
            *("--data", folder / "set.npz", "--preprocess", "none", "--run-dir", folder / "run"),
        ),
    )
]

outcome.on_this_machine = lambda *_, **__: ({}, {}, "")  # the command measures files and latency
for method, budget in (
    (methods.KD(epochs=1), 0.8),
    (methods.Knapsack(epochs=1), 0.8),
    (methods.LIT(epochs=1, finetune_epochs=1), 0.8),
    (methods.TaylorPruning(epochs=1), 0.8),
    (methods.DARC(epochs=1), 0.9),
):
    result = tfcompress.compress(model, method, (x, y), flops_budget=budget, verbose=0)
    assert result.after.macs < result.before.macs, method.name
    print(f"{method.name}: {result.after.macs:,} of {result.before.macs:,} MACs", flush=True)
result.report(folder / "report.html")

for missing, call in {
    "rl": lambda: tfcompress.compress(model, "rlal", (x, y), flops_budget=0.5, verbose=0),
    "tfmot": lambda: tfcompress.compress(model, "magnitude", (x, y), verbose=0),
    "datasets": lambda: tfcompress.data.load("cifar10"),
    "plot": result.plot,
}.items():
    try:
        call()
    except ImportError as error:
        assert f"pip install 'tfcompress[{missing}]'" in str(error), error
        print(error)
    else:
        raise AssertionError(missing)

for process, expected in zip(begun, ("rlal", "Channel groups", "The result is in"), strict=True):
    printed, _ = process.communicate()
    assert process.returncode == 0 and expected in printed, printed
print("The core works without extras.")
