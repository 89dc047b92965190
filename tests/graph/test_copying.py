"""Copies of layers hold all that the layers hold."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.graph.copying import CannotBeCopied
from tfcompress.plan import Plan
from tfcompress.rewrite import apply


class Clip(keras.constraints.Constraint):
    """Not registered, and with a number that its config leaves out."""

    def __init__(self, limit=0.05):
        self.limit = limit

    def __call__(self, w):
        return ops.clip(w, -self.limit, self.limit)


def relu(x):
    """Another function than the one that Keras knows by this name."""
    return ops.maximum(x, -0.5)


def small(shape, dtype=None):
    return keras.random.normal(shape, stddev=0.1, dtype=dtype, seed=1)


def sum_of_sizes(w):
    return 1e-3 * ops.sum(ops.abs(w))


OBJECTS = {
    "kernel_constraint": Clip(0.25),
    "kernel_initializer": small,
    "kernel_regularizer": sum_of_sizes,
    "activity_regularizer": sum_of_sizes,
    "activation": functools.partial(keras.activations.leaky_relu, negative_slope=0.4),
    "bias_initializer": functools.partial(small),
}


def model_of(*parts, shape=(3, 4)):
    x = y = keras.Input(shape)
    for part in parts:
        y = part(y)
    return keras.Model(x, layers.Dense(2, name="head")(y))


def same(model, copy, shape=(3, 4)):
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    return np.allclose(model(x), copy(x), atol=1e-6)


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_of_the_users_are_carried_over(name):
    model = model_of(layers.Dense(5, name="own", **{name: OBJECTS[name]}))
    for plan in (Plan(), Plan.keeping({"own": (0, 2)})):
        copy = apply(model, plan)
        assert getattr(copy.get_layer("own"), name) is OBJECTS[name]
    assert same(model, apply(model, Plan()))


class Masked(keras.constraints.Constraint):
    """A number for each of the channels."""

    def __init__(self, mask):
        self.mask = np.asarray(mask, "float32")

    def __call__(self, w):
        return w * self.mask


def test_constraints_and_regularizers_of_one_width_keep_a_layer_whole():
    weights = np.arange(5, dtype="float32")
    for options in (
        {"bias_constraint": Masked([0, 1, 0, 1, 1])},
        {"kernel_regularizer": lambda w: keras.ops.sum(w * weights)},
    ):
        held = layers.Dense(5, name="held", **options)
        groups = ChannelGroups.of(LayerGraph.from_keras(model_of(held, layers.Dense(6, name="free"))))
        assert list(groups.groups) == ["free"]
        (name,) = options
        assert f"its {name} fits this width only" in str(groups)


def test_in_layers_inside_layers():
    cell = layers.LSTMCell(4, recurrent_activation=relu, kernel_constraint=OBJECTS["kernel_constraint"])
    model = model_of(
        layers.TimeDistributed(layers.Dense(5, activation=relu), name="steps"),
        layers.RNN([cell, layers.GRUCell(3, activation=OBJECTS["activation"])], name="cells"),
    )
    copy = apply(model, Plan())
    assert copy.get_layer("steps").layer.activation is relu
    first, second = copy.get_layer("cells").cell.cells
    assert first.recurrent_activation is relu and first.kernel_constraint is cell.kernel_constraint
    assert second.activation is OBJECTS["activation"]
    assert same(model, copy)


def test_the_source_keeps_its_own():
    layer = layers.Dense(5, **OBJECTS)
    model = model_of(layer)
    apply(model, Plan())
    assert all(getattr(layer, name) is thing for name, thing in OBJECTS.items())


def test_flags_policies_and_names_of_layers_inside():
    class Composite(layers.Layer):
        """Makes its parts itself, under whatever policy is the global one."""

        def __init__(self, **options):
            super().__init__(**options)
            self.first, self.second = layers.Dense(4), layers.Dense(4)

        def build(self, input_shape):
            self.first.build(input_shape)
            self.second.build((*input_shape[:-1], 4))

        def call(self, inputs):
            return self.second(self.first(inputs))

    keras.config.set_dtype_policy("mixed_float16")
    try:
        composite = Composite(name="composite")
    finally:
        keras.config.set_dtype_policy("float32")
    inner = layers.Dense(5)
    wrapped, both = layers.TimeDistributed(inner, name="steps"), layers.Bidirectional(layers.GRU(3), name="both")
    model = model_of(composite, wrapped, both)
    composite.first.trainable = inner.trainable = both.backward_layer.trainable = False
    composite.second.bias.trainable = False
    wrapped.supports_masking = not wrapped.supports_masking
    copy = apply(model, Plan())
    new = copy.get_layer("composite")
    assert [part.trainable for part in (new.first, new.second, copy.get_layer("steps").layer)] == [False, True, False]
    assert [copy.get_layer("both").forward_layer.trainable, copy.get_layer("both").backward_layer.trainable] == [
        True,
        False,
    ]
    assert [v.path for v in copy.trainable_variables] == [v.path for v in model.trainable_variables]
    assert new.first.dtype_policy.name == "mixed_float16" == composite.first.dtype_policy.name
    assert new.second.name == composite.second.name
    assert copy.get_layer("steps").supports_masking == wrapped.supports_masking


def test_lookups_keep_their_vocabularies():
    numbers, words = np.array([[3, 17], [99, 3]]), np.array([["good film"], ["bad film"]])
    hot = layers.IntegerLookup(output_mode="multi_hot")
    hot.adapt(numbers)
    text = layers.TextVectorization(output_mode="tf_idf")
    text.adapt(words)
    bins = layers.Discretization(num_bins=3)
    bins.adapt(np.arange(30.0).reshape(10, 3))
    n, t, f = keras.Input((2,), dtype="int64"), keras.Input((1,), dtype="string"), keras.Input((3,))
    model = keras.Model([n, t, f], [hot(n), text(t), bins(f)])
    copy = apply(model, Plan())
    given = [
        ops.convert_to_tensor(numbers),
        ops.convert_to_tensor(words),
        ops.convert_to_tensor([[1.0, 12.0, 29.0]] * 2),
    ]
    for one, other in zip(model(given), copy(given), strict=True):
        np.testing.assert_array_equal(one, other)


def test_optional_inputs_stay_optional():
    class Maybe(layers.Layer):
        def call(self, p, q=None):
            return p if q is None else p + q

    p, q = keras.Input((4,)), keras.Input((4,), optional=True)
    model = keras.Model([p, q], layers.Dense(2)(layers.Dense(5)(Maybe()(p, q))))
    x = ops.ones((2, 4))
    np.testing.assert_allclose(apply(model, Plan())([x, None]), model([x, None]), atol=1e-6)


def test_quantized_layers_stay_whole_and_say_so():
    from tfcompress.graph import ChannelGroups, LayerGraph

    x = keras.Input((6,))
    dense = layers.Dense(8, name="dense")
    model = keras.Model(x, layers.Dense(2)(layers.Dense(5, name="free")(dense(x))))
    dense.quantize("int8")
    groups = ChannelGroups.of(LayerGraph.from_keras(model))
    assert list(groups.groups) == ["free"]
    assert "quantized to int8" in " ".join(map(str, groups.fixed))
    copy = apply(model, Plan.keeping({"free": (1, 3)}))
    assert copy.get_layer("dense").quantization_mode == "int8"
    np.testing.assert_array_equal(copy.get_layer("dense").kernel_scale, dense.kernel_scale)


def test_functions_that_read_another_layer_are_refused():
    dense = layers.Dense(4, name="dense")
    lambda_layer = layers.Lambda(lambda y: ops.matmul(y, ops.transpose(dense.kernel)), name="reader")
    with pytest.raises(CannotBeCopied, match=r"'reader', whose function reads 'dense'.*keras\.Layer"):
        apply(model_of(dense, lambda_layer), Plan())


def test_a_copy_that_would_no_longer_share_is_refused():
    class Reader(layers.Layer):
        def __init__(self, other=None, **options):
            super().__init__(**options)
            self.other = other or layers.Dense(4)

        def call(self, inputs):
            return self.other(inputs)

        def get_config(self):
            return super().get_config()

    dense = layers.Dense(4, name="dense")
    with pytest.raises(CannotBeCopied, match=r"'reader' to keep sharing its weight 'dense/kernel'"):
        apply(model_of(dense, Reader(dense, name="reader")), Plan())


def test_the_last_axis_is_minus_one_in_a_copy():
    x = keras.Input((4, 4, 3))
    y = layers.BatchNormalization(axis=3, name="norm")(x)
    y = layers.LayerNormalization(axis=[3], name="layer_norm")(y)
    copy = apply(keras.Model(x, layers.Concatenate(axis=3, name="both")([y, y])), Plan())
    assert [copy.get_layer(name).axis for name in ("norm", "layer_norm", "both")] == [-1, [-1], -1]
    model = keras.Model(x, layers.BatchNormalization(axis=1, name="rows")(x))
    assert apply(model, Plan()).get_layer("rows").axis == 1
