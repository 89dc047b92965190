"""Students of another structure: what they compute, what they cost, which weights they have; every pair of edits."""

import contextlib
import itertools

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.costs import CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph, groups_after
from tfcompress.plan import KeepChannels, Plan, Reconfigure, RemoveLayers, ReplaceLayers
from tfcompress.rewrite import apply
from tfcompress.rewrite.subnetwork import Subnetwork
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
COMPARED = {"removed", "removed_again", "removed_next", "part", *CUTS}
# A second one of what is there once: beside the first, and in a chain with it.
SECOND = {
    "removed_again": RemoveLayers(("norm",)),
    "removed_next": RemoveLayers(("relu",)),
    "replaced_again": ReplaceLayers.by(("outer",), layers.Conv2D(5, 1, name="c")),
    "replaced_next": ReplaceLayers.by(("norm",), layers.LayerNormalization(name="d")),
}
OF_ONE_KIND = [
    ("removed", "removed_again"),
    ("removed_again", "removed_next"),
    ("replaced", "replaced_again"),
    ("replaced", "replaced_next"),
]


def plans():
    """Every edit, and every pair of them; whether they can meet is up to `test_pairs`."""
    for names in [*itertools.combinations(EDITS, 1), *itertools.combinations(EDITS, 2), *OF_ONE_KIND]:
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
    edits = [{**EDITS, **SECOND}[name] for name in names]
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


def kind(edit):
    return "part" if getattr(edit, "part", None) else type(edit).__name__


def test_every_two_kinds_of_edits_meet():
    """In a pair above, on different nodes; two parts below."""
    met = set()
    for names in [*itertools.combinations(EDITS, 2), *OF_ONE_KIND]:
        with contextlib.suppress(ValueError):  # both of one node
            met.add(tuple(sorted(map(kind, Plan(tuple({**EDITS, **SECOND}[name] for name in names))))))
    kinds = sorted(set(map(kind, EDITS.values())))
    assert len(kinds) == 5
    assert set(itertools.combinations_with_replacement(kinds, 2)) - met == {("part", "part")}


@pytest.mark.parametrize("weights", ["inherited", "fresh"])
def test_two_parts(weights, tmp_path):
    keras.utils.set_random_seed(0)
    y = x = keras.Input((8, 8, 3))
    for number in "12":
        wide = keras.Sequential([layers.Conv2D(7, 3, padding="same", name="up"), layers.Conv2D(5, 1, name="down")])
        y = layers.ReLU()(Mix({"wide": wide, "narrow": layers.Conv2D(5, 1, name="one")}, name=f"mix{number}")(y))
    model = keras.Model(x, layers.Dense(4)(layers.GlobalAveragePooling2D()(y)))
    edits = [ReplaceLayers.by_part("mix1", "narrow"), ReplaceLayers.by_part("mix2", "wide")]
    edits += [KeepChannels("mix1_one", (0, 2, 3)), KeepChannels("mix2_up", (1, 2, 5, 6))]
    groups = ChannelGroups.of(LayerGraph.from_keras(model))
    student = check(model, groups, Plan(tuple(edits), weights), tmp_path)
    assert [w.shape for w in student.get_layer("mix2_up").weights] == [(3, 3, 3, 4), (4,)]
    old = np.asarray(model.get_layer("mix1").choices["narrow"].kernel)[..., [0, 2, 3]]
    assert (weights == "inherited") == np.array_equal(student.get_layer("mix1_one").kernel, old)


class TestWeights:
    def test_a_part_brings_its_own(self, source):
        model, groups = source
        student = apply(model, Plan((PART,)), groups)
        wide = model.get_layer("mix").choices["wide"]
        for layer, name in zip(wide.layers, ("mix_up", "mix_down"), strict=True):
            for old, new in zip(layer.get_weights(), student.get_layer(name).get_weights(), strict=True):
                np.testing.assert_array_equal(old, new)
        assert {"mix", "mix_one"}.isdisjoint(layer.name for layer in student.layers)

    def test_what_changes_its_weights_starts_fresh_and_nothing_else(self, source):
        model, groups = source
        before = {layer.name: [np.array(w) for w in layer.get_weights()] for layer in model.layers}
        plan = Plan((KERNEL, INNER, CUTS["plain"]))
        assert groups_after(groups, plan)[1] == {"plain", "inner"}
        student = apply(model, plan, groups)
        assert student.get_layer("plain").kernel.shape == (1, 1, 5, 5)
        assert student.get_layer("inner").kernel.shape == (1, 3, 5, 7)
        np.testing.assert_array_equal(student.get_layer("stem").kernel, before["stem"][0])
        kept = list(CUTS["plain"].indices)
        np.testing.assert_array_equal(student.get_layer("norm").moving_variance, before["norm"][3][kept])
        np.testing.assert_array_equal(student.get_layer("head").kernel, before["head"][0][kept])
        assert not np.asarray(student.get_layer("plain").bias).any()  # as its initializer has it
        again = apply(model, plan, groups)
        assert np.abs(again.get_layer("plain").kernel - student.get_layer("plain").kernel).max() > 1e-3

    def test_settings_that_leave_the_weights_inherit_them(self, source):
        model, groups = source
        student = apply(model, Plan((STRIDES, ACTIVATION)), groups)
        assert student.get_layer("plain").output.shape == (None, 4, 4, 9)
        np.testing.assert_array_equal(student.get_layer("plain").kernel, model.get_layer("plain").kernel)
        layer = model.get_layer
        stem = keras.ops.gelu(
            keras.ops.conv(images(), layer("stem").kernel, padding="same") + layer("stem").bias, False
        )
        mixed = layer("mix")(stem + layer("outer")(layer("inner")(stem)))
        y = keras.ops.conv(mixed, layer("plain").kernel, 2, padding="same") + layer("plain").bias
        y = layer("head")(layer("pool")(layer("relu")(layer("norm")(y))))
        np.testing.assert_allclose(student(images()), y, atol=1e-5)

    def test_fresh_weights_are_those_of_the_initializers(self, source):
        model, groups = source
        student = apply(model, Plan((CUTS["plain"],), weights="fresh"), groups)
        for layer in student.layers:
            for weight in layer.weights:
                value = np.asarray(weight)
                if weight.name == "kernel" and layer.name != "mix":
                    kept = list(CUTS["plain"].indices)
                    old = np.asarray(model.get_layer(layer.name).kernel)
                    old = old[..., kept] if layer.name == "plain" else old[kept] if layer.name == "head" else old
                    assert np.abs(value - old).max() > 1e-2, layer.name
                elif layer.name == "norm":
                    np.testing.assert_array_equal(value, [weight.name in ("gamma", "moving_variance")] * 5)

    def test_state_that_no_training_makes_is_kept(self):
        x = keras.Input((3,))
        scale = layers.Normalization(name="scale")
        scale.adapt(np.array([[0.0, 2.0, 4.0], [2.0, 6.0, 4.0]]))
        model = keras.Model(x, layers.Dense(2, name="dense")(scale(x)))
        student = apply(model, Plan((), weights="fresh"))
        np.testing.assert_array_equal(student.get_layer("scale").mean, [[1.0, 4.0, 4.0]])
        assert np.abs(student.get_layer("dense").kernel - model.get_layer("dense").kernel).max() > 1e-3


class TestVerify:
    def test_another_part_is_noticed(self, source):
        """Two parts of one shape: the student of one is no student of the other."""
        keras.utils.set_random_seed(0)
        x = keras.Input((6,))
        mix = Mix({"a": layers.Dense(6, name="dense"), "b": layers.Dense(6, name="dense")}, name="mix")
        model = keras.Model(x, layers.Dense(2, name="head")(mix(x)))
        inputs = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
        plans = [Plan((ReplaceLayers.by_part("mix", name),)) for name in "ab"]
        students = [apply(model, plan) for plan in plans]
        assert verify(model, plans[0], students[0], inputs) < 1e-6
        with pytest.raises(RuntimeError, match="outputs of the masked one"):
            verify(model, plans[0], students[1], inputs)

    def test_fresh_weights_are_checked_by_cost_and_shapes(self, source):
        model, groups = source
        plan = Plan((FRESH,))
        student = apply(model, plan, groups)
        assert verify(model, plan, student, images(), groups=groups) == 0.0
        with pytest.raises(RuntimeError, match="plan's cost"):
            verify(model, plan, apply(model, Plan((FRESH, CUTS["plain_a"])), groups), images(), groups=groups)
        other = keras.Model(student.inputs, layers.Reshape((2, 2))(student.outputs[0]))
        with pytest.raises(RuntimeError, match=r"outputs of the shapes \[\(4,\)\]. Received: \[\(2, 2\)\]"):
            verify(model, plan, other, images(), groups=groups)
        plan = Plan((CUTS["plain"],), weights="fresh")
        assert verify(model, plan, apply(model, plan, groups), images(), groups=groups) == 0.0


class TestRefused:
    @pytest.mark.parametrize(
        ("edit", "error", "words"),
        [
            (RemoveLayers(("plain",)), ValueError, r"plain \(None, 8, 8, 9\), made from mix \(None, 8, 8, 5\)"),
            (
                ReplaceLayers.by(("plain",), layers.Conv2D(6, 1, name="c")),
                ValueError,
                r"'plain' \(None, 8, 8, 9\), replaced by 'plain_c' \(None, 8, 8, 6\)",
            ),
            (ReplaceLayers.by(("nowhere",), layers.Dense(3)), KeyError, "nowhere"),
            (ReplaceLayers.by(("image",), layers.Dense(3)), ValueError, "'image', an input"),
            (ReplaceLayers.by_part("plain", "wide"), ValueError, r"methods `parts` and `alone`.*'plain' \(Conv2D\)"),
            (ReplaceLayers.by_part("mix", "broad"), ValueError, r"\['narrow', 'wide'\]. Received: part='broad'"),
            (ReplaceLayers.by(("stem", "plain"), layers.Dense(3)), ValueError, "as many inputs and outputs"),
            (
                Reconfigure("pool", {"strides": 2}),
                ValueError,
                r"'pool' \(GlobalAveragePooling2D\) has, of which nothing",
            ),
            (
                Reconfigure("head", {"strides": 2}),
                ValueError,
                r"'head' \(Dense\) has, of which activation can be changed",
            ),
            (Reconfigure("outer", {"strides": 2}), ValueError, r"'sum' \(Add\), which would read"),
            (Reconfigure("plain", {"activation": "nope"}), ValueError, "every layer fits.*'plain'"),
        ],
    )
    def test_edits_that_cannot_be_carried_out(self, source, edit, error, words):
        model, groups = source
        for call in (lambda: apply(model, Plan((edit,)), groups), lambda: CostModel(groups).of(Plan((edit,)))):
            with pytest.raises(error, match=words):
                call()

    def test_a_reshape_that_does_not_fit_is_no_other_batch(self):
        x = keras.Input((4,))
        y = keras.ops.reshape(layers.Dense(3, name="three")(x), (-1, 3, 1))
        model = keras.Model(x, layers.Dense(2)(y))
        with pytest.raises(ValueError, match=r"Reshape.*3 entries a sample, of 4"):
            apply(model, Plan((RemoveLayers(("three",)),), weights="fresh"))

    def test_outputs_keep_their_shapes(self, source):
        model, groups = source
        plan = Plan((ReplaceLayers.by(("head",), layers.Dense(5)),), weights="fresh")
        with pytest.raises(ValueError, match=r"shapes of the model's outputs.*'head' \(None, 4\).*\(None, 5\)"):
            apply(model, plan, groups)

    def test_a_subnetwork_has_the_structure_of_its_model(self, source):
        model, groups = source
        subnetwork = Subnetwork(model, groups)
        for plan, words in ((Plan((BLOCK,)), "RemoveLayers"), (Plan((), weights="fresh"), "'fresh'")):
            for run in (subnetwork.predict, lambda plan, x: subnetwork.recalibrate(plan, [x])):
                with pytest.raises(ValueError, match=f"sub-network. Received: .*{words}"):
                    run(plan, images())


class TestWidths:
    """With fresh weights a part may go that changes a width; what reads it is made for the new one."""

    def test_removed(self, source, tmp_path):
        model, groups = source
        plan = Plan((RemoveLayers(("plain",)), PART), weights="fresh")
        student = check(model, groups, plan, tmp_path)
        assert student.get_layer("norm").gamma.shape == (5,)
        assert student.get_layer("head").kernel.shape == (5, 4)
        # 8 x 8 places: stem, inner, outer, the wide part; then the head.
        assert cost(student).macs == 64 * (27 * 5 + 45 * 7 + 63 * 5 + 45 * 11 + 11 * 5) + 5 * 4

    def test_replaced_by_another_width_and_cut(self, source, tmp_path):
        model, groups = source
        edit = ReplaceLayers.by(("plain", "norm", "relu"), layers.Conv2D(6, 3, 2, name="new"))
        plan = Plan((edit, KeepChannels("plain_new", (0, 1, 5))), weights="fresh")
        student = check(model, groups, plan, tmp_path)
        assert student.get_layer("plain_new").output.shape == (None, 3, 3, 3)
        assert student.get_layer("head").kernel.shape == (3, 4)


class TestGraphs:
    def test_a_region_with_two_tensors_coming_in_and_two_going_out(self, tmp_path):
        x = keras.Input((6,), name="x")
        a, b = layers.Dense(4, name="a")(x), layers.Dense(4, name="b")(x)
        total, product = layers.Add(name="total")([a, b]), layers.Multiply(name="product")([a, b])
        model = keras.Model(x, [layers.Dense(2, name="one")(total), layers.Dense(2, name="two")(product)])
        left, right = keras.Input((4,)), keras.Input((4,))
        both = layers.Concatenate(name="both")([left, right])
        small = keras.Model([left, right], [layers.Dense(4, name="p")(both), layers.Dense(4, name="q")(both)])
        plan = Plan((ReplaceLayers.by(("total", "product"), small), KeepChannels("b", (1, 2))))
        student = apply(model, plan)
        assert CostModel(ChannelGroups.of(LayerGraph.from_keras(model))).of(plan) == cost(student)
        assert student.get_layer("total_p").kernel.shape == (6, 4)  # 4 of a, 2 of b
        assert [w.shape for w in student.get_layer("b").weights] == [(6, 2), (2,)]
        assert student.get_layer("one").input.name == student.get_layer("total_p").output.name
        np.testing.assert_array_equal(student.get_layer("two").kernel, model.get_layer("two").kernel)

    def test_one_replacement_in_several_places_and_between_removed_layers(self):
        x = keras.Input((6,), name="x")
        y = x
        for name in "abcd":
            y = layers.Dense(6, name=name)(y)
        model = keras.Model(x, layers.Dense(2, name="head")(y))
        new = layers.Dense(6, use_bias=False, name="new")
        plan = Plan((RemoveLayers(("a", "c")), ReplaceLayers.by(("b",), new), ReplaceLayers.by(("d",), new)))
        student = apply(model, plan)
        assert [layer.name for layer in student.layers] == ["x", "b_new", "d_new", "head"]
        assert cost(student) == CostModel(ChannelGroups.of(LayerGraph.from_keras(model))).of(plan)
        assert cost(student).params == 36 + 36 + 6 * 2 + 2

    def test_all_calls_of_a_shared_layer_change(self):
        x = keras.Input((8, 4), name="x")
        shared = layers.Conv1D(4, 3, padding="same", name="shared")
        model = keras.Model(x, layers.Dense(2, name="head")(shared(shared(x))))
        student = apply(model, Plan((Reconfigure("shared@2", {"kernel_size": 5}),)))
        assert student.get_layer("shared").kernel.shape == (5, 4, 4)
        assert cost(student).macs == 2 * 8 * 5 * 16 + 8 * 4 * 2
        with pytest.raises(ValueError, match="Expected all calls"):
            apply(model, Plan((ReplaceLayers.by(("shared",), layers.Dense(4)),)))
