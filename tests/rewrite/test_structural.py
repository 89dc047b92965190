"""Students of another structure: what they compute, what they cost, which weights they have; every pair of edits."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.costs import CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph, groups_after
from tfcompress.plan import KeepChannels, Plan, Reconfigure, RemoveLayers, ReplaceLayers
from tfcompress.rewrite import apply
from tfcompress.rewrite.verify import verify


@keras.saving.register_keras_serializable("tests")
class Mix(layers.Layer):
    """A weighted sum of what its layers give: a small mixture."""

    def __init__(self, choices, **options):
        super().__init__(**options)
        self.choices = choices

    def build(self, input_shape):
        for layer in self.choices.values():
            if not layer.built:
                layer.build(input_shape)
        self.alpha = self.add_weight(shape=(len(self.choices),), initializer="ones", name="alpha")

    def call(self, inputs):
        outputs = [layer(inputs) for layer in self.choices.values()]
        return sum(self.alpha[i] * output for i, output in enumerate(outputs))

    def compute_output_shape(self, input_shape):
        return next(iter(self.choices.values())).compute_output_shape(input_shape)

    def parts(self):
        return self.choices

    def alone(self, part):
        return [(self.alpha, np.array([float(name == part) for name in self.choices]))]

    def get_config(self):
        choices = {name: keras.saving.serialize_keras_object(layer) for name, layer in self.choices.items()}
        return {**super().get_config(), "choices": choices}

    @classmethod
    def from_config(cls, config):
        choices = {name: keras.saving.deserialize_keras_object(c) for name, c in config.pop("choices").items()}
        return cls(choices, **config)


def network():
    """stem, a residual block, a mixture, a plain convolution, a head; all widths prime to one another."""
    keras.utils.set_random_seed(3)
    x = keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(5, 3, padding="same", activation="relu", name="stem")(x)
    y = layers.Conv2D(7, 3, padding="same", activation="relu", name="inner")(stem)
    y = layers.Add(name="sum")([stem, layers.Conv2D(5, 3, padding="same", name="outer")(y)])
    wide = keras.Sequential([layers.Conv2D(11, 3, padding="same", name="up"), layers.Conv2D(5, 1, name="down")])
    choices = {"wide": wide, "narrow": layers.Conv2D(5, 1, name="one")}
    y = Mix(choices, name="mix")(y)
    y = layers.Conv2D(9, 3, padding="same", name="plain")(y)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="relu")(y))
    model = keras.Model(x, layers.Dense(4, name="head")(y))
    rng = np.random.default_rng(0)
    model.get_layer("norm").set_weights([rng.uniform(0.5, 1.5, 9).astype("float32") for _ in range(4)])
    return model


def images(count=3):
    return np.random.default_rng(0).random((count, 8, 8, 3), dtype="float32")


BLOCK = RemoveLayers(("inner", "outer", "sum"))
PART = ReplaceLayers.by_part("mix", "wide")
FRESH = ReplaceLayers.by(
    ("plain",), keras.Sequential([layers.SeparableConv2D(6, 3, padding="same", name="a"), layers.Dense(9, name="b")])
)
STRIDES = Reconfigure("plain", {"strides": 2})
KERNEL = Reconfigure("plain", {"kernel_size": 1})
INNER = Reconfigure("inner", {"kernel_size": (1, 3), "activation": "tanh"})
ACTIVATION = Reconfigure("stem", {"activation": "gelu"})
CUTS = {
    "stem": KeepChannels("stem", (0, 2, 4)),
    "inner": KeepChannels("inner", (1, 2, 3, 6)),
    "plain": KeepChannels("plain", (0, 1, 2, 5, 8)),
    "mix_up": KeepChannels("mix_up", tuple(range(0, 11, 2))),
    "plain_a": KeepChannels("plain_a", (0, 3)),
}
EDITS = {
    "removed": BLOCK,
    "part": PART,
    "replaced": FRESH,
    "strides": STRIDES,
    "kernel": KERNEL,
    "inner": INNER,
    "activation": ACTIVATION,
    **CUTS,
}
COMPARED = {"removed", "part", *CUTS}


def plans():
    """Every pair of edits that can meet, alone and with what both leave cut as well."""
    for names in [*itertools.combinations(EDITS, 1), *itertools.combinations(EDITS, 2)]:
        for weights in ("inherited", "fresh"):
            yield pytest.param(names, weights, id=f"{'+'.join(names)}-{weights}")


@pytest.fixture(scope="module")
def source():
    model = network()
    return model, ChannelGroups.of(LayerGraph.from_keras(model))


def check(model, groups, plan, tmp_path):
    """predicted = counted, saved = loaded, and the edits' own oracles."""
    student = apply(model, plan, groups)
    assert CostModel(groups).of(plan) == cost(student)
    assert verify(model, plan, student, images(), groups=groups) < 1e-5
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(loaded(images()), student(images()), atol=1e-6)
    return student


@pytest.mark.parametrize(("names", "weights"), plans())
def test_pairs(source, names, weights, tmp_path):
    model, groups = source
    edits = [EDITS[name] for name in names]
    try:
        structural = Plan(tuple(edit for edit in edits if not isinstance(edit, KeepChannels)), weights)
    except ValueError as error:
        assert "each node" in str(error)  # both of one node
        return
    left = groups_after(groups, structural)[0].groups
    gone = [edit.group for edit in edits if isinstance(edit, KeepChannels) and edit.group not in left]
    plan = Plan(tuple(edits), weights)
    if gone:  # of layers that leave, or that only come with another edit
        with pytest.raises(KeyError, match=gone[0]):
            apply(model, plan, groups)
        return
    student = check(model, groups, plan, tmp_path)
    if weights == "inherited" and COMPARED.issuperset(names):
        assert np.ptp(np.asarray(student(images()))) > 1e-3  # something is compared
