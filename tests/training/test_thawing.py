"""Frozen layers: which are trained all the same, and that every flag comes back."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import KeepChannels, Plan, ReplaceLayers, Trail
from tfcompress.replacements import Part, by_name
from tfcompress.rewrite import apply
from tfcompress.training.thawing import cut_layers, frozen, inner_layers, thawed, to_thaw, words_for


def flags(model):
    """All flags, of inner layers and of variables too."""
    every = inner_layers(model)
    return [layer.trainable for layer in every], [variable.trainable for variable in model.variables]


@pytest.fixture(scope="module")
def network():
    """A frozen chain whose first group, of 4 channels, is written by "a" and read by "b"; "c" and "bc" are beyond."""
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, use_bias=False, name="a")(inputs)
    x = layers.BatchNormalization(name="ba")(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(6, 3, use_bias=False, name="b")(x)
    x = layers.BatchNormalization(name="bb")(x)
    x = layers.Conv2D(6, 3, use_bias=False, name="c")(x)
    x = layers.BatchNormalization(name="bc")(x)
    model = keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))
    for layer in model.layers[:-1]:
        layer.trainable = False
    return model


def plan_for(groups, layer, keep):
    """A plan that keeps the first channels that a layer writes."""
    name = next(group.name for group in groups.groups.values() if layer in str(group.name))
    return Plan((KeepChannels(name, tuple(range(keep))),))


def test_what_a_cut_changes_is_trained_and_the_normalisation_behind_it(network):
    groups = ChannelGroups.of(LayerGraph.from_keras(network))
    plan = plan_for(groups, "a", 2)
    student = apply(network, plan, groups)
    cut = cut_layers(groups.graph, student, Trail((plan,)))
    assert set(cut) == {"a", "ba", "b"}
    found = to_thaw(student, cut)
    # "bb" reads what "b" writes; "c" and "bc" are as they were.
    assert sorted(layer.name for layer in found) == ["a", "b", "ba", "bb"]
    assert words_for(found) == "4 frozen layers whose weights changed are trained: a, ba, b, bb"
    before = flags(student)
    with thawed(student, found):
        open_now = {layer.name for layer in student.layers if layer.trainable_variables}
        assert open_now == {"a", "ba", "b", "bb", "head"}
    assert flags(student) == before
    assert to_thaw(student, {}) == []


def wrappers():
    """Layers that hold layers, some flags inside them set apart from those around them."""
    inputs = keras.Input((5, 3))
    shared = layers.Dense(3, name="inner")
    x = layers.TimeDistributed(shared, name="distributed")(inputs)
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="both_ways")(x)
    x = layers.SpectralNormalization(layers.Dense(4), name="spectral")(x)
    nested = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="first"), layers.Dense(4, name="second")])
    x = layers.TimeDistributed(nested, name="network")(x)
    x = layers.RNN(layers.GRUCell(3), name="cells")(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    shared.trainable = False
    model.get_layer("both_ways").forward_layer.trainable = False
    model.get_layer("spectral").layer.trainable = False
    nested.layers[0].trainable = False
    model.get_layer("cells").cell.kernel.trainable = False
    return model


def test_every_flag_comes_back_also_after_an_error():
    model = wrappers()
    before = flags(model)
    for context in (lambda: frozen(model.layers), lambda: thawed(model, model.layers), lambda: thawed(model, [])):
        with context():
            pass
        assert flags(model) == before
        with pytest.raises(KeyError), context():
            raise KeyError
        assert flags(model) == before
    with frozen(model.layers):
        assert model.trainable_variables == []


def test_inside_a_wrapper_the_innermost_layer_alone():
    model = wrappers()
    nested = model.get_layer("network").layer
    model.trainable = False
    with thawed(model, [nested.layers[1]]):
        assert [id(v) for v in model.trainable_variables] == [id(v) for v in nested.layers[1].variables]
    assert model.trainable_variables == []


def test_a_frozen_embedding_keeps_its_values():
    inputs = keras.Input((4,), dtype="int32")
    x = layers.Embedding(10, 6, name="embedding")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="head")(layers.Flatten()(layers.Dense(6, name="mid")(x))))
    model.get_layer("embedding").trainable = model.get_layer("mid").trainable = False
    groups = ChannelGroups.of(LayerGraph.from_keras(model))
    plan = plan_for(groups, "embedding", 3)
    student = apply(model, plan, groups)
    cut = cut_layers(groups.graph, student, Trail((plan,)))
    assert set(cut) == {"embedding", "mid"}
    assert [layer.name for layer in to_thaw(student, cut)] == ["mid"]
    with thawed(student, student.layers):
        assert student.get_layer("embedding").trainable_variables == []
    np.testing.assert_array_equal(
        student.get_layer("embedding").embeddings, np.array(model.get_layer("embedding").embeddings)[:, :3]
    )


def test_a_shift_stays_what_it_is():
    """Drawn with the rest of a fresh student it would be trained as a frozen layer; it has its numbers in its config."""
    model = keras.Sequential([keras.Input((8, 8, 9)), layers.Conv2D(9, 3, name="conv")])
    graph = LayerGraph.from_keras(model)
    made = keras.Sequential([keras.Input((8, 8, 9)), *by_name("shift").layers(Part.of(graph, ["conv"]))])
    plan = Plan((ReplaceLayers.by(("conv",), made),), "fresh")
    student = apply(model, plan)
    cut = cut_layers(graph, student, Trail((plan,)))
    assert "conv_shift" in cut
    assert to_thaw(student, cut) == []
    student.get_layer("conv_pointwise").trainable = False
    assert [layer.name for layer in to_thaw(student, cut)] == ["conv_pointwise"]
