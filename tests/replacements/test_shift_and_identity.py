"""The shift, against rolling by hand; the identity."""

import keras
import numpy as np
from keras import layers
from replaced import network, part_of

from tfcompress.costs import cost
from tfcompress.graph import LayerGraph
from tfcompress.plan import Plan, ReplaceLayers
from tfcompress.replacements import Part, by_name, fitting
from tfcompress.rewrite import apply


def test_a_shift_moves_each_channel_by_one_place():
    """20 channels, nine places: two channels each, and the last two stay."""
    layer = layers.Conv2D(20, 3, padding="same", use_bias=False)
    model, made = network(part_of(layer, (6, 7, 20)), "shift")
    made[-1].kernel.assign(np.eye(20)[None, None])
    x = np.random.default_rng(0).normal(size=(2, 6, 7, 20)).astype("float32")
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = [(row, column) for row in range(3) for column in range(3) for _ in range(2)] + [(1, 1)] * 2
    expected = [padded[:, r : r + 6, c : c + 7, channel] for channel, (r, c) in enumerate(places)]
    np.testing.assert_allclose(model(x), np.stack(expected, -1), atol=1e-6)


def test_it_is_fixed_counted_and_written_down_in_a_plan():
    model = keras.Sequential([keras.Input((8, 8, 9)), layers.Conv2D(12, 3, 2, name="conv")])
    part = part_of(layers.Conv2D(12, 3, 2), (8, 8, 9))
    made = keras.Sequential([keras.Input((8, 8, 9)), *fitting(part, by_name("shift"))])
    for weights in ("inherited", "fresh"):
        student = apply(model, Plan((ReplaceLayers.by(("conv",), made),), weights))
        kernel = np.array(student.get_layer("conv_shift").kernel)
        np.testing.assert_array_equal(kernel[..., 0].reshape(9, 9), np.eye(9))
    assert [weight.path for weight in student.trainable_weights] == ["conv_pointwise/kernel", "conv_pointwise/bias"]
    # 3 x 3 places out, nine products and a column of 12 for each channel; the file holds the fixed numbers too.
    counted = cost(student)
    assert (counted.macs, counted.params) == (9 * (81 + 108), 81 + 108 + 12)


def test_costs_in_any_place():
    for settings, places in (
        ({"padding": "same", "strides": 2, "use_bias": False}, 5 * 5),
        ({"padding": "valid", "dilation_rate": 2}, 5 * 6),
    ):
        layer = layers.Conv2D(12, 3, **settings)
        counted = cost(network(part_of(layer, (9, 10, 9)), "shift")[0])
        assert (counted.macs, counted.params) == (places * (81 + 108), 81 + 108 + 12 * layer.use_bias)


def test_steps_shift_in_their_own_direction():
    layer = layers.Conv1D(4, 2, padding="causal", dilation_rate=3, use_bias=False)
    model, made = network(part_of(layer, (8, 4)), "shift")
    made[-1].kernel.assign(np.eye(4)[None])
    x = np.arange(32, dtype="float32").reshape(1, 8, 4) + 1
    expected = x.copy()
    expected[:, :, :2] = np.pad(x, ((0, 0), (3, 0), (0, 0)))[:, :8, :2]  # the kernel's first place is three steps ago
    np.testing.assert_allclose(model(x), expected)


def test_where_a_shift_has_no_meaning():
    for layer in (layers.Conv2D(9, 1), layers.Conv2D(9, 4), layers.Conv2D(9, 3, (1, 2)), layers.Dense(3)):
        assert network(part_of(layer, (8, 8, 9)), "shift") == (None, None)


def test_the_identity_keeps_the_activation():
    x = np.random.default_rng(0).normal(size=(2, 9, 10, 6)).astype("float32")
    for activation, expected in ((None, x), ("relu", np.maximum(x, 0))):
        part = part_of(layers.Conv2D(6, 3, padding="same", activation=activation))
        model, made = network(part, "identity")
        np.testing.assert_array_equal(model(x), expected)
        assert (cost(model).macs, cost(model).params) == (0, 0)
        assert by_name("identity").start(part, made)
    for layer in (layers.Conv2D(6, 3), layers.Conv2D(5, 1), layers.Conv2D(6, 1, 2)):
        assert network(part_of(layer), "identity") == (None, None)


def test_an_identity_is_written_down_in_a_plan():
    """Of a layer without an activation too, with its policy."""
    for policy in ("float32", "mixed_bfloat16"):
        conv = layers.Conv2D(3, 3, padding="same", name="conv", dtype=policy)
        model = keras.Sequential([keras.Input((4, 4, 3)), conv])
        (made,) = fitting(Part.of(LayerGraph.from_keras(model), ["conv"]), by_name("identity"))
        student = apply(model, Plan((ReplaceLayers.by(["conv"], made),)))
        assert not student.weights and student.layers[-1].dtype_policy.name == policy
        x = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
        np.testing.assert_allclose(np.array(student(x), "float32"), x, rtol=0.01)


def test_sizes_that_are_not_known_may_change_all_the_same():
    shape = (None, None, 6)
    for layer in (layers.Conv2D(6, 3), layers.Conv2D(6, 3, 2, padding="same"), layers.MaxPooling2D(2)):
        assert network(part_of(layer, shape), "identity") == (None, None)
    for layer in (layers.Conv2D(6, 1), layers.Conv2D(6, 3, padding="same")):
        assert network(part_of(layer, shape), "identity")[1] is not None
    x = keras.Input(shape)
    strided = layers.Conv2D(6, 3, 2, padding="same", name="a")(x)
    graph = LayerGraph.from_keras(keras.Model(x, layers.ReLU(name="b")(strided)))
    region = Part.of(graph, ["a", "b"])
    assert not region.convolves
    assert network(region, "identity") == (None, None)
