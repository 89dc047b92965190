"""The mixture: its outputs, its training, saving, reading by the graph, and taking a part out of it."""

import json
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import model_files
from tfcompress.costs import CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.layers import Mixture
from tfcompress.plan import Plan, ReplaceLayers
from tfcompress.report import inspect
from tfcompress.rewrite import apply
from tfcompress.rewrite.verify import verify
from tfcompress.training import WeightDecay
from tfcompress.training.initial import draw_anew


def region():
    """Two convolutions and a sum, as a Functional model."""
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, padding="same", name="inner")(x)
    y = layers.BatchNormalization(name="norm")(y)
    return keras.Model(x, layers.Add(name="sum")([y, layers.Conv2D(4, 1, name="shortcut")(x)]), name="region")


def mixture(name="mix", **settings):
    parts = {
        "original": layers.Conv2D(4, 3, padding="same", name="conv"),
        "separable": [
            layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise"),
            layers.Conv2D(4, 1, name="pointwise"),
        ],
        "region": region(),
    }
    return Mixture(parts, name=name, **settings)


def network(**settings):
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    y = mixture(**settings)(layers.Conv2D(3, 1, name="stem")(x))
    return keras.Model(x, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="pool")(layers.ReLU()(y))))


def images(count=6):
    return np.random.default_rng(1).normal(size=(count, 8, 8, 3)).astype("float32")


def test_it_is_the_sum_of_its_parts_weighted_by_alpha():
    layer, x = mixture(), images()
    layer.build(x.shape)
    assert layer.weights_of_parts == pytest.approx({"original": 1 / 3, "separable": 1 / 3, "region": 1 / 3})
    layer.alpha.assign([0.5, 0.3, 0.2])
    original, (depthwise, pointwise), small = layer.parts().values()
    expected = 0.5 * original(x) + 0.3 * pointwise(depthwise(x)) + 0.2 * small(x)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    assert layer.compute_output_shape((None, 8, 8, 3)) == (None, 8, 8, 4)


@pytest.mark.parametrize("weighting", ["simplex", "softmax"])
def test_alone_it_is_one_part(weighting):
    layer, x = mixture(weighting=weighting), images()
    layer.build(x.shape)
    for name, part in layer.parts().items():
        for variable, value in layer.alone(name):
            variable.assign(value)
        expected = x
        for inner in part if isinstance(part, tuple) else (part,):
            expected = inner(expected)
        np.testing.assert_allclose(layer(x), expected, atol=1e-6)
        assert layer.weights_of_parts[name] == 1


def test_a_part_that_is_taken_out_computes_what_it_did():
    model, x = network(), images()
    original = model.get_layer("mix").parts()["region"]
    original.get_layer("norm").moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    for name in ("original", "separable", "region"):
        plan = Plan((ReplaceLayers.by_part("mix", name),))
        student = apply(model, plan)
        verify(model, plan, student, x)
        for variable, value in model.get_layer("mix").alone(name):
            variable.assign(value)
        np.testing.assert_allclose(student(x), model(x), atol=1e-5)
        assert not any(isinstance(layer, Mixture) for layer in student.layers)
        assert cost(student) == CostModel(ChannelGroups.of(LayerGraph.from_keras(model))).of(plan)
    assert [layer.name for layer in student.layers if layer.name.startswith("mix_")] == [
        "mix_inner", "mix_norm", "mix_shortcut", "mix_sum",
    ]  # fmt: skip


def test_taking_a_chain_out_leaves_no_trace_in_the_mixture():
    model = network()
    layer = model.get_layer("mix")
    before = [len(inner._inbound_nodes) for inner in layer._flatten_layers()]
    student = apply(model, Plan((ReplaceLayers.by_part("mix", "separable"),)))
    assert before == [len(inner._inbound_nodes) for inner in layer._flatten_layers()]
    np.testing.assert_array_equal(student.get_layer("mix_pointwise").kernel, layer.parts()["separable"][1].kernel)


def test_plain_fit_moves_alpha_towards_what_the_data_says_and_what_is_cheap():
    """Labels are what the model with the original alone gives; then costs that outweigh them."""
    x = images(64)
    for strength, favourite in ((0.0, "original"), (3.0, "separable")):
        model = network(costs={"original": 3.0, "separable": 1.0, "region": 4.0}, strength=strength)
        layer = model.get_layer("mix")
        for variable, value in layer.alone("original"):
            variable.assign(value)
        labels = model.predict(x, verbose=0)
        layer.alpha.assign([1 / 3] * 3)
        for inner in layer._flatten_layers(include_self=False):
            inner.trainable = False
        model.compile(keras.optimizers.SGD(0.2), "mse")
        model.fit(x, labels, batch_size=16, epochs=12, verbose=0)
        shares = layer.weights_of_parts
        assert max(shares, key=shares.get) == favourite
        assert sum(shares.values()) == pytest.approx(1)
        assert min(shares.values()) >= 0


def test_a_saved_and_reloaded_mixture_goes_on_training_with_the_same_step(tmp_path):
    x = images(16)
    labels = np.arange(32).reshape(16, 2) / 10
    model = network(costs={"original": 3.0, "separable": 1.0, "region": 4.0}, strength=0.1)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.fit(x, labels, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    losses = [m.fit(x, labels, batch_size=16, shuffle=False, verbose=0).history["loss"] for m in (model, again)]
    assert losses[0] == losses[1]
    for old, new in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    assert again.get_layer("mix").costs == {"original": 3.0, "separable": 1.0, "region": 4.0}
    assert again.get_layer("mix").weights_of_parts != network().get_layer("mix").weights_of_parts


def test_alpha_may_learn_faster_than_the_parts():
    """A step of SGD from logits 0: five times as far along the same gradient, and the same step for all others."""
    x, labels, steps = images(16), np.arange(32).reshape(16, 2) / 10, {}
    costs = {"original": 3.0, "separable": 1.0, "region": 4.0}
    for rate in (1.0, 5.0):
        model = network(costs=costs, strength=0.1, weighting="softmax", alpha_rate=rate)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        steps[rate] = (model.fit(x, labels, batch_size=16, verbose=0).history["loss"], model.get_weights(), model)
    layer = steps[5.0][2].get_layer("mix")
    assert steps[1.0][0] == steps[5.0][0]
    assert np.abs(layer.alpha).max() > 1e-3
    for variable, slow, fast in zip(
        layer.weights, *(steps[rate][2].get_layer("mix").get_weights() for rate in steps), strict=True
    ):
        np.testing.assert_allclose(fast, (5 if variable is layer.alpha else 1) * slow, rtol=1e-5, atol=1e-8)
    assert Mixture.from_config(layer.get_config()).alpha_rate == 5.0


def test_the_strength_can_be_set_later():
    model = network(costs={"original": 3.0, "separable": 1.0, "region": 2.0}, strength=0.5)
    layer = model.get_layer("mix")
    np.testing.assert_allclose(sum(model.losses), 0.5 * 2)  # the mean cost is 2
    layer.strength = 2.0
    np.testing.assert_allclose(sum(model.losses), 2 * 2)
    assert layer.get_config()["strength"] == 2.0


def test_training_reaches_the_parts():
    layer = Mixture({"same": layers.Identity(), "dropped": layers.Dropout(0.5)})
    x = np.ones((4, 50), "float32")
    np.testing.assert_array_equal(layer(x, training=False), x)
    assert len(np.unique(layer(x, training=True))) == 2  # 0.5 (dropped) and 1.5


def test_a_mask_passes():
    x = keras.Input((5, 3))
    y = Mixture({"same": layers.Identity(), "dense": layers.Dense(3)})(layers.Masking()(x))
    model = keras.Model(x, layers.GlobalAveragePooling1D()(y))
    steps = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    steps[:, 3:] = 0
    short = keras.Model(x, y)(steps)
    np.testing.assert_allclose(model(steps), np.mean(np.array(short)[:, :3], 1), rtol=1e-5)


def test_parts_that_read_a_mask_are_given_it_once(recwarn):
    def reads_mask(layer):
        steps, mask = keras.Input((5, 3)), keras.Input((5,), dtype="bool")
        return keras.Model([steps, mask], layer(steps, mask=mask))

    parts = {"lstm": reads_mask(layers.LSTM(4, name="lstm")), "gru": reads_mask(layers.GRU(4, name="gru"))}
    words = keras.Input((5,), dtype="int32")
    mixed = Mixture(parts, name="mix")
    embedded = layers.Embedding(9, 3, mask_zero=True)(words)
    model = keras.Model(words, mixed([embedded, keras.ops.not_equal(words, 0)]))
    texts = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7]])
    numbers = np.array(model.layers[1](texts))
    expected = sum(0.5 * np.array(part([numbers, texts != 0])) for part in parts.values())
    np.testing.assert_allclose(model(texts), expected, atol=1e-6)
    assert not [str(warning.message) for warning in recwarn if "mask" in str(warning.message)]


def test_mixed_precision_computes_in_half_and_keeps_alpha_whole():
    policy = keras.DTypePolicy("mixed_float16")
    parts = {name: layers.Dense(3, dtype=policy, name=name) for name in "ab"}
    layer = Mixture(parts, dtype=policy)
    outputs = layer(np.ones((2, 4), "float32"))
    assert outputs.dtype == "float16"
    assert (layer.alpha.dtype, parts["a"].kernel.dtype) == ("float32", "float32")


def test_a_model_that_reads_several_tensors():
    pair = [keras.Input((3,)), keras.Input((3,))]
    product = keras.Model(pair, layers.Multiply()(pair))
    x = [keras.Input((3,)), keras.Input((3,))]
    layer = Mixture({"product": product, "sum": layers.Add(name="sum")}, name="mix")
    model = keras.Model(x, layer(x))
    values = [np.array([[1.0, 2.0, 3.0]]), np.array([[4.0, 5.0, 6.0]])]
    np.testing.assert_allclose(model(values), [[4.5, 8.5, 13.5]])  # half of 4 + 5, 10 + 7, 18 + 9
    for name, expected in (("product", [[4, 10, 18]]), ("sum", [[5, 7, 9]])):
        student = apply(model, Plan((ReplaceLayers.by_part("mix", name),)))
        np.testing.assert_allclose(student(values), expected)
    assert cost(model).macs == 0


def test_its_channels_stay_and_its_cost_is_that_of_its_parts():
    model = network()
    groups = ChannelGroups.of(LayerGraph.from_keras(model))
    assert (list(groups.groups), groups.unknown) == ([], ())
    counted = cost(model)
    # 64 places: stem 3 x 3, original 27 x 4, separable 27 + 12, region 27 x 4 + 12; the head 4 x 2.
    assert counted.macs == 64 * (9 + 108 + 39 + 120) + 8
    # The same with biases and the scale and offset of a normalisation; alpha and moving statistics are no parameters.
    assert counted.params == (9 + 3) + (108 + 4) + (27 + 12 + 4) + (108 + 4 + 8 + 12 + 4) + (8 + 2)
    assert counted.bytes == 4 * (counted.params + 3 + 8)
    assert (counted.unknown, counted.unmeasured) == ((), ())
    assert next((fixed.layer, fixed.node) for fixed in groups.fixed) == ("stem", "mix")
    lines = []
    inspect(model, lines.append)
    assert "Mixture" in "".join(lines)


def test_weight_decay_leaves_alpha_alone():
    model = network()
    decay = WeightDecay(1.0)
    decay.build(model)
    alpha = model.get_layer("mix").alpha
    expected = sum(float(np.sum(np.square(v))) for v in model.trainable_variables if v is not alpha) / 2
    np.testing.assert_allclose(decay(), expected, rtol=1e-5)


def test_a_plan_may_put_a_mixture_in():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, padding="same", name="c")])
    edit = ReplaceLayers.by(("c",), mixture(costs={"region": 2.0, "original": 3.0, "separable": 1.0}, strength=0.5))
    written = json.loads(json.dumps(edit.replacement, sort_keys=True))  # as a plan in a file
    relaxed = apply(model, Plan((ReplaceLayers(("c",), written),))).get_layer("c_mix")
    assert list(relaxed.parts()) == ["original", "separable", "region"]
    assert (list(relaxed.costs.values()), relaxed.strength) == ([3.0, 1.0, 2.0], 0.5)


def test_whatever_reads_models_or_plans_has_registered_the_mixture():
    rewriting = sys.modules[apply.__module__]  # `tfcompress.rewrite.apply` is the function
    assert model_files.tfcompress.layers is rewriting.tfcompress.layers


def test_of_our_layers_a_plan_takes_the_mixture_alone():
    inner = Mixture({"own": _OwnLayer(), "same": layers.Identity()})
    for layer, name in ((_OwnLayer(), "_OwnLayer"), (inner, "_OwnLayer"), (layers.Lambda(abs), "Lambda")):
        with pytest.raises(ValueError, match=f"stock Keras layers.*Received: .*{name}"):
            ReplaceLayers.by(("c",), layer)


@keras.saving.register_keras_serializable("tfcompress")
class _OwnLayer(layers.Layer):
    """A layer of ours that is no mixture."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "Expected `parts`"),
        (([layers.Dense(2)],), "Expected `parts`.*a mapping"),
        (({"a": 3},), r"Expected `parts\['a'\]`"),
        (({"a": []},), r"Expected `parts\['a'\]`"),
        (({"a": layers.Dense(2)}, {"b": 1.0}), r"Expected `costs`.*a cost for each of \['a'\]"),
        (({"a": layers.Dense(2)}, {"a": -1.0}), r"Expected `costs\['a'\]`.*0 or more"),
        (({"a": layers.Dense(2)}, {"a": float("nan")}), r"Expected `costs\['a'\]`"),
        (({"a": layers.Dense(2)}, None, -1.0), "Expected `strength`"),
        (({"a": layers.Dense(2)}, None, 1.0, "sum"), "Expected `weighting`"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Mixture(*arguments)


def test_parts_of_different_shapes_are_named():
    with pytest.raises(ValueError, match=r"'mix' part 'a' gives \(2, 3\), part 'b' gives \(2, 4\)"):
        Mixture({"a": layers.Dense(3), "b": layers.Dense(4)}, name="mix").build((2, 5))
    with pytest.raises(ValueError, match=r"fit inputs \(2, 5\). Received: part 'b' of 'mix', layer 'conv'"):
        Mixture({"a": layers.Dense(3), "b": layers.Conv2D(3, 1, name="conv")}, name="mix").build((2, 5))
    with pytest.raises(ValueError, match="Expected `part`"):
        mixture().alone("sep")


def test_its_weights_are_drawn_anew_with_those_of_its_parts():
    model = network()
    layer = model.get_layer("mix")
    layer.alpha.assign([1.0, 0.0, 0.0])
    before = np.array(layer.parts()["separable"][1].kernel)
    draw_anew([layer], np.random.default_rng(0))
    assert layer.weights_of_parts == pytest.approx({"original": 1 / 3, "separable": 1 / 3, "region": 1 / 3})
    assert (np.array(layer.parts()["separable"][1].kernel) != before).all()
