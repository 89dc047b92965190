"""Models with something that must stay whole: normalisation over channels, unknown layers, softmax, outputs."""

import keras
from keras import layers, ops

from tfcompress.graph.handlers import Handler, WeightAxes, handles
from tfcompress.graph.labels import Labels
from topologies.chains import conv, head, image
from topologies.registry import topology


class RollChannels(keras.layers.Layer):
    """A layer that tfcompress cannot know: each output channel is the sum of two neighbours, scaled."""

    def __init__(self, steps=1, **options):
        super().__init__(**options)
        self.steps = steps

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

    def call(self, inputs):
        return self.scale * (inputs + ops.roll(inputs, self.steps, axis=-1))

    def get_config(self):
        return {**super().get_config(), "steps": self.steps}


class Gain(keras.layers.Layer):
    """A layer of the user's own with a handler: a factor for each channel."""

    def build(self, input_shape):
        self.gain = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gain")

    def call(self, inputs):
        return inputs * self.gain


@handles(Gain)
class GainHandler(Handler):
    def flow(self, call):
        return (Labels(call.input_along(-1), call.inputs[0].axis),)

    def weights(self, call, outputs):
        return (WeightAxes(call.layer.gain, carries={0: outputs[0].ids}),)


class Mixer(keras.Model):
    """A subclassed model, whose calls cannot be read."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.mix = layers.Dense(units, name="mix")
        self.norm = layers.BatchNormalization(name="norm")

    def call(self, inputs):
        return self.norm(self.mix(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def thirds_of_itself(x):
    return x / 3.0


def less_the_mean(x):
    return x - 0.5 * ops.mean(x, axis=-1, keepdims=True)


@topology(smallest=30 * 9 * 3 * 5 + 30 * 9 * 5 + 3)
def layer_normalization():
    x = image()
    y = layers.LayerNormalization(name="norm")(conv(5, name="stream")(x))
    return keras.Model(x, head(conv(7)(y)))


@topology(smallest=30 * 9 * 3 * 6 + 30 * 9 * 6 + 30 * 9 * 6 + 30 * 9 * 6 + 3)
def group_normalization_in_a_residual():
    # The sum ties the stem to the normalised branch: 6 channels stay, the block's inner ones do not.
    x = image()
    y = conv(6, name="stem")(x)
    z = conv(6, name="branch")(conv(5, name="inner")(y))
    y = layers.Add()([y, layers.GroupNormalization(3, name="norm")(z)])
    return keras.Model(x, head(conv(4)(y)))


@topology(smallest=30 * 3 * 5 + 30 * 5 * 4 + 30 * 4 + 3)
def other_normalizations():
    x = image()
    y = layers.RMSNormalization()(conv(5, 1)(x))
    y = layers.UnitNormalization()(conv(4, 1)(y))
    return keras.Model(x, head(conv(7, 1)(y)))


@topology(smallest=30 * 3 * 5 + 30 * 5 * 4 + 30 * 4 * 7 + 30 * 7 + 3)
def softmax_in_the_middle():
    x = image()
    y = layers.Softmax()(conv(5, 1)(x))
    y = conv(4, 1, activation="softmax", name="mixed")(y)
    y = layers.Activation("log_softmax")(conv(7, 1)(y))
    return keras.Model(x, head(conv(5, 1)(y)))


@topology(smallest=30 * 3 + 30 + 3)
def softmax_over_positions():
    x = image()
    y = layers.Reshape((30, 5))(conv(5, 1)(x))
    y = layers.Softmax(axis=1)(y)
    y = layers.Conv1D(4, 1)(layers.Rescaling(30.0)(y))
    return keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(layers.Softmax(axis=(1,))(y))))


@topology(smallest=30 * 9 * 3 + 30 * 9 * 5 + 30 * 9 * 5 + 3, stock=False)
def unknown_layer():
    x = image()
    y = conv(5, name="into")(conv(4, name="before")(x))
    return keras.Model(x, head(conv(7, name="out_of")(RollChannels(2, name="roll")(y))))


@topology(smallest=30 * 9 * 3 + 30 * 9 + 30 * 9 + 3, stock=False)
def own_layer_with_a_handler():
    x = image()
    y = Gain(name="gain")(conv(5, name="into")(conv(4, name="before")(x)))
    return keras.Model(x, head(conv(7, name="out_of")(y)))


@topology(smallest=30 * 3 * 5 + 30 * 5 * 4 + 30 * 4 + 3, stock=False)
def subclassed_model_inside():
    # Left whole like a layer: 5 channels to 4.
    x = image()
    return keras.Model(x, head(conv(7, 1)(Mixer(4, name="mixer")(conv(5, 1, name="into")(x)))))


@topology(smallest=30 * 3 * 5 + 30 * 5 + 3, stock=False)
def unknown_lambda():
    x = image()
    y = layers.Lambda(lambda tensor: ops.flip(tensor, -1) * 2.0, name="lambda")(conv(5, 1, name="into")(x))
    return keras.Model(x, head(conv(7, 1)(y)))


@topology(smallest=30 * 3 * 5 + 30 * 5 + 3)
def unknown_operations():
    # An operation of keras.ops that nobody described.
    x = image()
    y = conv(5, 1, name="into")(x)
    return keras.Model(x, head(conv(7, 1)(ops.triu(y * 2.0) + y)))


@topology(smallest=30 * 3 * 5 + 30 * 5 * 4 + 30 * 4 + 3, stock=False)
def activation_that_mixes():
    # A function that nobody described is tried with numbers: this one makes each channel depend on all.
    x = image()
    y = conv(5, 1, activation=less_the_mean, name="own")(x)
    y = layers.Activation(less_the_mean)(conv(4, 1)(y))
    return keras.Model(x, head(conv(7, 1)(y)))


@topology(smallest=30 * 3 + 30 + 30 + 3, stock=False)
def activation_of_ones_own():
    # As above, with a function that treats each number on its own.
    x = image()
    y = conv(5, 1, activation=thirds_of_itself, name="own")(x)
    y = layers.Activation(thirds_of_itself)(conv(4, 1)(y))
    return keras.Model(x, head(conv(7, 1)(y)))


@topology(smallest=30 * 3 * 5 + 30 * 5 + 3)
def rescaling_of_each_channel():
    x = image()
    y = layers.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0], offset=0.5, name="scales")(conv(5, 1, name="into")(x))
    return keras.Model(x, head(conv(7, 1)(y)))


@topology(smallest=30 * 3 * 5 + 30 * 5 + 3)
def normalization_in_the_middle():
    x = image()
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(keras.random.normal((8, 5), 1.0, 2.0, seed=5))
    return keras.Model(x, head(conv(7, 1)(normalization(conv(5, 1, name="into")(x)))))


@topology(smallest=30 * 3 * 7 + 42 * 5 * 5 + 30 * 7 + 3)
def merge_of_different_axes():
    # The channels of one tensor lie on the last axis, those of the other on the first.
    x, z = image((5, 6, 3)), keras.Input((5, 6, 7))
    last = conv(7, 1, name="last")(x)  # [5, 6, 7]
    first = layers.Conv2D(5, 1, data_format="channels_first", name="first")(z)  # [5, 6, 7]
    return keras.Model([x, z], head(conv(7, 1)(layers.Multiply(name="product")([last, first]))))


@topology(smallest=30 * 3 * 5 + 30 * 2 + 3)
def pooling_over_channels():
    # "channels_first" takes the last axis for the width, and 5 channels are pooled to 2.
    x = image()
    y = layers.MaxPooling2D((1, 2), data_format="channels_first", name="pool")(conv(5, 1, name="into")(x))
    return keras.Model(x, head(conv(7, 1)(y)))
