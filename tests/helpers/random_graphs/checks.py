"""The three oracles for one model and one plan."""

import contextlib
import pathlib
import tempfile

import keras
import numpy as np
import oracles
from topologies.registry import random_inputs, randomise

from tfcompress.costs import CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.rewrite import apply
from tfcompress.rewrite.oracles import masked, reference

__all__ = ["FLOATS", "TOLERANCE", "check", "floats", "prepare"]

# Rounding errors that a deep program multiplies are no matter then: what differs by more is wrong.
FLOATS = "float64"
# No other axis is this long. `keras.ops.add` takes what has one axis longer than 1 for a bias of the axis behind the
# batch, or of the last one, if that is as long: of [4, 4, 1] + [4, 1] it makes [4, 4, 1] + [4, 1, 1] (Keras 3.15).
BATCH = 17
TOLERANCE = 1e-6  # of outputs (compared as float32), relative to the largest


@contextlib.contextmanager
def floats():
    """Keras makes layers of `FLOATS` by default; afterwards of what it did before."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(FLOATS)
    keras.config.set_dtype_policy(FLOATS)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def prepare(model):
    """Gives a model weights that matter, always the same ones."""
    rng = np.random.default_rng(0)
    randomise(model, rng)
    for variable in model.variables:  # whatever the seeds were when it was built
        if "kernel" in variable.name or variable.name == "embeddings":
            variable.assign(rng.normal(0.0, 1.0, variable.shape) / np.sqrt(max(np.prod(variable.shape[:-1]), 1)))


def check(model, plan, through_norms=False):
    """Carries out a plan and asks the oracles: those of its edits, of its cost, and of files.

    Of fresh weights and other settings cost, shapes and files are compared.

    Returns:
        By how much the plan changes the outputs, relative to the largest.

    Raises:
        AssertionError: one of them disagrees.
    """
    prepare(model)
    groups = ChannelGroups.of(LayerGraph.from_keras(model), through_norms)
    inputs = random_inputs(model, np.random.default_rng(1), batch=BATCH)
    whole = oracles.call(model, inputs)
    student = apply(model, plan, groups)
    received = oracles.call(student, inputs)
    expected = _masked(model, groups, plan, inputs)
    if expected is not None:
        _agree(received, expected, TOLERANCE, "the cut model differs from the masked original")
    shapes = [[array.shape for array in arrays] for arrays in (received, whole)]
    assert shapes[0] == shapes[1], f"outputs of the shapes {shapes[0]}, of the original {shapes[1]}"

    predicted, counted = CostModel(groups).of(plan), cost(student)
    assert predicted == counted, f"predicted {predicted}, counted on the student {counted}"
    walked = (oracles.walked_macs(student), oracles.walked_params(student), oracles.walked_bytes(student))
    assert walked == (predicted.macs, predicted.params, predicted.bytes), f"predicted {predicted}, walked {walked}"

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "student.keras"
        student.save(path)
        loaded = keras.models.load_model(path)
    _agree(oracles.call(loaded, inputs), received, TOLERANCE, "the saved and loaded model differs from the cut one")
    return oracles.relative_error(received, whole)


def _masked(model, groups, plan, inputs):
    """With zeros for what reads removed channels; where norms are cut, by their formula over the channels that stay.

    `None` where nothing can be compared.
    """
    if plan.structural or plan.weights == "fresh":
        runner = reference(model, plan, groups)
        return runner if runner is None else runner(inputs)
    if groups.through_norms:
        return masked(model, plan, groups)(inputs)
    return oracles.masked_outputs(model, groups, plan, inputs)


def _agree(received, expected, tolerance, what):
    assert all(np.isfinite(array).all() for array in expected), "the original gives numbers that are not finite"
    error = oracles.relative_error(received, expected)
    assert error <= tolerance, f"{what} by {error:.3g}"
