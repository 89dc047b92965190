"""The registry of topologies, and what is done to each model once it is built."""

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from tfcompress.graph import ChannelGroups, LayerGraph

TOPOLOGIES = {}


@dataclass(frozen=True)
class Topology:
    """A small model to be cut.

    Attributes:
        name: name of the function that builds it.
        function: builds it.
        smallest: fewest MACs that it can be cut to, worked out by hand.
        tolerance: largest difference of outputs, relative to the largest output.
        stock: whether it is made of stock Keras layers, so that its file loads without custom objects.
        through_norms: whether its groups are taken through what changes a statistic.
    """

    name: str
    function: Callable[[], keras.Model]
    smallest: int
    tolerance: float
    stock: bool
    through_norms: bool


@dataclass(frozen=True)
class Built:
    """A topology's model with random weights and statistics, its groups, and inputs for it."""

    topology: Topology
    model: keras.Model
    groups: ChannelGroups
    inputs: object

    def __iter__(self):
        return iter((self.model, self.groups, self.inputs))


def topology(smallest, tolerance=1e-5, stock=True, through_norms=False):
    """Registers a function that builds a model."""

    def register(function):
        name = function.__name__
        assert name not in TOPOLOGIES, name
        TOPOLOGIES[name] = Topology(name, function, smallest, tolerance, stock, through_norms)
        return function

    return register


@functools.cache
def build(name):
    """The topology's model, built once in a process and the same in every process."""
    entry = TOPOLOGIES[name]
    seed = zlib.crc32(name.encode())
    keras.utils.set_random_seed(seed)
    model = entry.function()
    rng = np.random.default_rng(seed)
    randomise(model, rng)
    groups = ChannelGroups.of(LayerGraph.from_keras(model), entry.through_norms)
    return Built(entry, model, groups, random_inputs(model, rng))


def randomise(model, rng):
    """Gives biases, scales and running statistics values that matter; variances stay positive."""
    for variable in model.variables:
        name, shape = variable.name, variable.shape
        if "float" not in keras.backend.standardize_dtype(variable.dtype) or name in ("mean", "variance"):
            continue  # the seeds of dropout, and what Normalization was adapted to
        if "variance" in name:
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif name == "gamma":
            variable.assign(rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape))
        elif "kernel" not in name and name != "embeddings":
            variable.assign(rng.normal(0.0, 0.4, shape))


def random_inputs(model, rng, batch=3):
    """Random inputs in the structure of the model's inputs; whole numbers below 7 where it takes integers."""

    def one(tensor):
        shape = (batch, *tensor.shape[1:])
        if "int" in keras.backend.standardize_dtype(tensor.dtype):
            return rng.integers(0, 7, shape).astype("int32")
        return rng.normal(size=shape).astype("float32")

    return keras.tree.map_structure(one, model.inputs[0] if isinstance(model, keras.Sequential) else model.input)
