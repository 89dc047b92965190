"""Parts of a graph: what is read off a layer, or off the shapes of a region; what is no part."""

import keras
import pytest
from keras import layers

from tfcompress import replacements, zoo
from tfcompress.graph import LayerGraph
from tfcompress.graph.regions import between
from tfcompress.replacements import Part, Replacement


def graph():
    x = keras.Input((9, 8, 3), name="image")
    stem = layers.Conv2D(4, 1, name="stem")(x)
    y = layers.Conv2D(6, (3, 5), (2, 1), padding="valid", activation="relu", name="wide")(stem)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Conv2D(6, 3, (1, 2), padding="same", use_bias=False, name="down")(y)
    return LayerGraph.from_keras(
        keras.Model(x, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="pool")(y)))
    )


def test_a_layer():
    part = Part.of(graph(), ["wide"])
    assert (part.name, part.nodes, part.layer.name) == ("wide", ("wide",), "wide")
    assert (part.input_shapes, part.output_shape) == (((None, 9, 8, 4),), (None, 4, 4, 6))
    assert (part.rank, part.kernel_size, part.strides, part.dilation_rate) == (2, (3, 5), (2, 1), (1, 1))
    assert (part.padding, part.use_bias, part.activation.__name__) == ("valid", True, "relu")
    assert (part.channels_in, part.channels_out, part.groups, part.convolves) == (4, 6, 1, True)
    assert (part.extents, part.data_format, part.kernel_regularizer) == ((3, 5), "channels_last", None)


def test_a_region_is_read_off_its_shapes():
    part = Part.of(graph(), ["down", "norm"])  # in any order
    assert (part.name, part.nodes, part.layer) == ("norm", ("norm", "down"), None)
    assert (part.input_shapes, part.output_shape) == (((None, 4, 4, 6),), (None, 4, 2, 6))
    assert (part.kernel_size, part.strides, part.padding) == ((3, 3), (1, 2), "same")
    assert (part.use_bias, part.activation.__name__, part.convolves) == (True, "linear", True)


def test_a_residual_block_ends_with_its_activation():
    network = LayerGraph.from_keras(zoo.resnet20())
    part = Part.of(network, between(network, "section2_block1_relu2", "section1_block3_relu2"))
    assert (part.strides, part.channels_in, part.channels_out) == ((2, 2), 16, 32)
    assert part.activation.__name__ == "relu"


def test_a_dense_layer_and_a_region_of_another_rank_are_no_convolutions():
    assert not Part.of(graph(), ["head"]).convolves
    assert not Part.of(graph(), ["pool", "head"]).convolves
    assert not Part.of(graph(), ["norm"]).convolves


@pytest.mark.parametrize(
    ("nodes", "error", "message"),
    [
        (["nothing"], KeyError, "nothing"),
        (["image"], ValueError, "an input of the model"),
        (["stem", "norm"], ValueError, r"one region.*\['stem', 'norm'\], which read \['image', 'wide'\]"),
        ([], ValueError, "names of nodes"),
        ("stem", ValueError, "names of nodes"),
    ],
)
def test_nodes_that_are_no_part(nodes, error, message):
    with pytest.raises(error, match=message):
        Part.of(graph(), nodes)


def test_what_is_read_outside_or_called_twice_is_no_part():
    x = keras.Input((4, 4, 3), name="image")
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    y = layers.ReLU(name="relu")(shared(shared(x)))
    z = layers.Conv2D(3, 1, name="conv")(y)
    network = LayerGraph.from_keras(keras.Model(x, layers.Add(name="sum")([y, z])))
    with pytest.raises(ValueError, match=r"give \['relu', 'conv'\] to the rest"):
        Part.of(network, ["relu", "conv"])
    with pytest.raises(ValueError, match=r"'shared', of a layer that is also called as \['shared@2'\]"):
        Part.of(network, ["shared"])
    assert Part.of(network, ["sum"]).input_shapes == ((None, 4, 4, 3), (None, 4, 4, 3))
    assert Part.of(network, ["conv", "sum"]).nodes == ("conv", "sum")


class _Own(Replacement):
    """A replacement that gives what it is told to."""

    name = "own"

    def __init__(self, made):
        self.made = made

    def layers(self, part):
        return self.made


def test_replacements_by_name():
    for name in ("3x3DS", "1x1FC", "3x3+1x1"):
        assert replacements.by_name(name).name == name
        assert name in replacements.names()
    own = _Own(None)
    assert replacements.by_name(own) is own
    assert not own.start(None, []) and not own.needs_inputs and not own.start_from(None, [], None)
    for value, message in (("5x5", "one of .*1x1FC"), (_Own, r"parentheses: _Own\(\)"), (3, "Derive the class")):
        with pytest.raises(ValueError, match=message):
            replacements.by_name(value)
    with pytest.raises(ValueError, match="a name other than"):
        replacements.register_replacement(type("Taken", (_Own,), {"name": "3x3DS"})(None))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (layers.Dense(2), "Expected `layers`.*From replacement 'own' of 'wide'"),
        ([], "Expected `layers`"),
        ([layers.Identity(name="a"), layers.Conv2D(6, 1, name="a")], r"names unique.*\['a', 'a'\]"),
        ([layers.Conv2D(6, 1)], r"output shape \(None, 4, 4, 6\). Received: \(None, 9, 8, 6\).*'own' of 'wide'"),
        ([layers.Flatten(), layers.Conv2D(6, 1)], r"fits inputs.*'own' of 'wide'"),
    ],
)
def test_layers_that_do_not_fit_are_named(made, message):
    with pytest.raises(ValueError, match=message):
        replacements.fitting(Part.of(graph(), ["wide"]), _Own(made))


def test_a_replacement_without_meaning_gives_nothing():
    assert replacements.fitting(Part.of(graph(), ["wide"]), _Own(None)) is None
