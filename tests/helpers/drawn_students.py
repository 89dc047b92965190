"""Random plans of both stages of N2N: each is refused before anything is built, or builds, runs and costs as predicted."""

import collections
import dataclasses

import keras
import numpy as np
import small_tasks
from keras import layers

from tfcompress import zoo
from tfcompress.costs import cost
from tfcompress.methods.n2n.rules import RELEASED, TEXT
from tfcompress.methods.n2n.space import Space
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite import apply

__all__ = ["MODELS", "Failure", "Tally", "branched", "chain", "run"]


def chain():
    """A strided convolution, two plain ones, pooling and a head."""
    x = inputs = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(x)
    x = layers.Conv2D(6, 3, 2, "same", name="strided")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Conv2D(8, 5, padding="same", name="wide")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="chain")


def branched():
    """Two branches that are joined by concatenation, and a depthwise convolution."""
    x = inputs = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    x = layers.Concatenate(name="join")(
        [layers.Conv2D(4, 1, name="a")(x), layers.Conv2D(5, 3, padding="same", name="b")(x)]
    )
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="mean")(x)))


MODELS = {
    "resnet18": lambda: zoo.resnet18((32, 32, 3), 10),
    "vgg16": lambda: zoo.vgg16((32, 32, 3), 10),
    "mobilenet_v2": lambda: zoo.mobilenet_v2((32, 32, 3), 10),
    "chain": chain,
    "branched": branched,
    "residual": small_tasks.residual_network,
}
"""The teachers: three of the zoo at 32x32, three small ones."""


class Failure(AssertionError):
    """A plan that is not what it seemed."""


@dataclasses.dataclass
class Tally:
    """What became of the plans.

    Attributes:
        built: plans of which a student was built, by stage.
        refused: plans whose shapes do not fit, which nothing was built of, by stage.
        edits: kinds of edits of the plans that were built.
    """

    built: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    refused: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    edits: collections.Counter = dataclasses.field(default_factory=collections.Counter)


def run(name, count, seed=0, tally=None):
    """Draws plans for one teacher, a third for the first stage, a third for the second, and a third for both in turn.

    Args:
        name: of `MODELS`.
        count: of plans.
        seed: of the draws.
        tally: counts go there.
    """
    tally, rng = tally or Tally(), np.random.default_rng([seed, *name.encode()])
    teacher = Network(MODELS[name]())
    for number in range(count):
        rules = (TEXT, RELEASED)[rng.integers(2)]
        stage, network = ("removal", "shrinkage", "both")[number % 3], teacher
        if stage != "shrinkage":
            removable = Space.of(network.costs, rules).removable
            plan = removable.plan((rng.random(len(removable.allowed)) < rng.random()).tolist())
            left = _checked(network, plan, tally, stage, name, number)
            if left is None or stage == "removal":
                continue
            network = left
        shrinkable = Space.of(network.costs, rules).shrinkable
        shares = rng.choice(rules.shares, len(shrinkable.variables)).tolist()
        _checked(network, shrinkable.plan(shares), tally, stage, name, number)
    return tally


def _checked(network, plan, tally, stage, name, number):
    """The student's network, or nothing where the plan is refused."""
    try:
        predicted = network.costs.after(plan).of(Plan(plan.channels))
    except ValueError:
        tally.refused[stage] += 1
        return None
    try:
        student = apply(network.model, plan, network.groups, seed=0)
        counted, outputs = cost(student), student(np.ones((2, *network.model.input_shape[1:]), "float32"))
    except Exception as error:
        raise Failure(f"{name}, plan {number}: {error}\n{plan.to_json()}") from error
    if counted != predicted or outputs.shape != (2, *network.model.output_shape[1:]) or not np.isfinite(outputs).all():
        raise Failure(f"{name}, plan {number}: {predicted} predicted, {counted} counted\n{plan.to_json()}")
    tally.built[stage] += 1
    tally.edits.update(type(edit).__name__ for edit in plan)
    return Network(student)
