"""A part of one layer, and a model of a replacement alone."""

import keras

from tfcompress.graph import LayerGraph
from tfcompress.replacements import Part, by_name, fitting


def part_of(layer, shape=(9, 10, 6)):
    """The part that a layer is, which reads inputs of a shape without the batch."""
    x = keras.Input(shape)
    return Part.of(LayerGraph.from_keras(keras.Model(x, layer(x))), [layer.name])


def network(part, replacement):
    """A model of a replacement alone, and its layers; `(None, None)` where it has no meaning for the part."""
    made = fitting(part, by_name(replacement))
    if made is None:
        return None, None
    if isinstance(made, keras.Model):
        return made, made.layers
    return keras.Sequential([keras.Input(part.input_shapes[0][1:]), *made]), made
