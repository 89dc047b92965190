"""Control of what is pruned: widths by hand, patterns, limits, and that finished models keep to them."""

import dataclasses
import itertools

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress import Budget, Control
from tfcompress.channels import Widths, pruning_units
from tfcompress.channels.environment import PruningEnvironment
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Random, Uniform


def groups_of(model):
    return ChannelGroups.of(LayerGraph.from_keras(model))


def network():
    """Groups: stem (20, with outer: the stream), inner (17), last (6); a depthwise convolution carries inner."""
    x = keras.Input((6, 6, 2))
    stem = layers.Conv2D(20, 1, use_bias=False, name="stem")(x)
    y = layers.Conv2D(17, 1, name="inner")(stem)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    y = layers.Add()([stem, layers.Conv2D(20, 1, name="outer")(y)])
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 1, name="last")(y))
    return keras.Model(x, layers.Dense(3, name="head")(y), name="net")


class WidthsTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.groups = groups_of(network())

    def bounds(self, *args, **kwargs):
        """`{group: (least, greatest)}`"""
        widths = Control.of(*args, **kwargs).widths(self.groups)
        return dict(
            zip(self.groups.groups, zip(widths.least.tolist(), widths.greatest.tolist(), strict=True), strict=True)
        )

    def test_anything_goes_without_control(self):
        self.assertEqual(self.bounds(), {"stem": (1, 20), "inner": (1, 17), "last": (1, 6)})

    def test_exclude_by_name_pattern_and_class(self):
        whole = {"stem": (20, 20), "inner": (17, 17), "last": (6, 6)}
        for exclude, names in (
            ("inner", ["inner"]),
            (["outer"], ["stem"]),  # shares the stream
            ("*t*r", ["stem"]),  # outer
            (["last", "inn*"], ["last", "inner"]),
            (layers.DepthwiseConv2D, ["inner"]),  # carries it
            (layers.Conv2D, ["stem", "inner", "last"]),
            ("head", []),
        ):
            expected = self.bounds() | {name: whole[name] for name in names}
            self.assertEqual(self.bounds(exclude=exclude), expected, exclude)

    def test_only_what_is_named_altogether(self):
        free = self.bounds()
        whole = {"stem": (20, 20), "inner": (17, 17), "last": (6, 6)}
        self.assertEqual(self.bounds(only="inner"), whole | {"inner": free["inner"]})
        self.assertEqual(self.bounds(only=["stem"]), whole)  # outer writes the stream too
        self.assertEqual(self.bounds(only=["stem", "outer"]), whole | {"stem": free["stem"]})
        self.assertEqual(self.bounds(only=layers.Conv2D, exclude="last"), free | {"last": (6, 6)})

    def test_limits_of_ratios(self):
        """Shares to remove: 0.25 to 0.5 of 20 leave 10 to 15; of 17 they leave 8.5 to 12.75, so 9 to 12."""
        expected = {"stem": (10, 15), "inner": (9, 12), "last": (3, 4)}
        self.assertEqual(self.bounds(ratio_limits={"*": (0.25, 0.5)}), expected)
        self.assertEqual(self.bounds(ratio_limits={"inner": 0.5})["inner"], (9, 17))
        self.assertEqual(self.bounds(ratio_limits={"last": (1, 1)})["last"], (1, 1))  # one channel stays
        self.assertEqual(self.bounds(ratio_limits={"last": 0})["last"], (6, 6))
        both = self.bounds(ratio_limits={"*": (0.1, 0.8), layers.DepthwiseConv2D: (0.2, 0.9), "i*": (0.0, 0.5)})
        self.assertEqual(both["inner"], (9, 13))  # 0.2 to 0.5
        self.assertEqual(both["stem"], (4, 18))

    def test_multiples(self):
        """A whole group stays as it is; one that is too small goes only as a whole."""
        self.assertEqual(self.bounds(round_to=8), {"stem": (8, 20), "inner": (8, 17), "last": (6, 6)})
        widths = Control(round_to=8).widths(self.groups)
        for wanted, expected in (
            ([20, 17, 6], [20, 17, 6]),
            ([19, 16, 5], [16, 16, 6]),
            ([15, 9, 1], [8, 8, 6]),
            ([3, 1, 1], [8, 8, 6]),
        ):
            self.assertAllEqual(widths.floor(wanted), expected)
        # 10 to 15 of 20 holds no multiple of 8: limits come first; 5 to 10 of 20 does.
        self.assertEqual(self.bounds(round_to=8, ratio_limits={"stem": (0.25, 0.5)})["stem"], (15, 15))
        self.assertEqual(self.bounds(round_to=8, ratio_limits={"stem": (0.5, 0.75)})["stem"], (8, 8))

    def test_multiples_of_layers_not_of_positions(self):
        """A grouped convolution loses whole groups, of 2 channels read and 3 channels written."""
        x = keras.Input((4, 4, 3))
        y = layers.Conv2D(16, 1, name="before")(x)
        y = layers.Conv2D(24, 1, groups=8, name="grouped")(y)
        model = keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
        groups = groups_of(model)
        group = next(group for group in groups if "grouped" in group.producers)
        index = list(groups.groups).index(group.name)
        self.assertEqual(group.size, 8)
        each = {"before": 2, "grouped": 3}[group.producers[0]]
        for round_to in (2, 4, 6):
            widths = Control(round_to=round_to).widths(groups)
            for width in range(1, group.size + 1):
                allowed = int(widths.floor(np.full(len(groups), width))[index])
                self.assertTrue(allowed == group.size or allowed * each % round_to == 0, (round_to, width))

    def test_the_same_ratio_of_all_that_fit(self):
        """By trying every ratio."""
        widths = Control.of(round_to=4, ratio_limits={"inner": (0.1, 0.6)}).widths(self.groups)
        costs = CostModel(self.groups)
        for share in (0.3, 0.5, 0.8):
            limit = share * costs.total.macs
            tried = [widths.floor(np.maximum(1, np.floor(costs.sizes * r / 1020 + 1e-9))) for r in range(1, 1021)]
            fitting = [kept for kept in tried if costs.of_kept(kept).macs <= limit]
            found = widths.same_ratio(lambda kept: costs.of_kept(kept).macs <= limit)  # noqa: B023
            self.assertAllEqual(found, fitting[-1])

    def test_what_is_left_is_spent_in_the_order_of_the_keys(self):
        """10 to spend on steps that cost 1, 2 and 3 a channel: the keys are tried in order, the last group first."""
        widths = Widths(*(np.array(v, np.int64) for v in ([4, 4, 9], [1, 1, 1], [4, 4, 8], [1, 1, 2])))
        spent = np.array([1, 2, 3])

        def key(group, ws):
            return ws + 10 * (2 - group)

        def fits(kept):
            return int(((kept - 1) * spent).sum()) <= 10

        # The third group: 2 (3 spent), 4 (9); 6 does not fit (15). The second does not (11), the first once (10).
        start = np.array([1, 1, 1], np.int64)
        self.assertAllEqual(widths.grown(start, key, fits), [2, 1, 4])
        self.assertAllEqual(widths.grown(start, key, fits, most=np.array([1, 4, 2])), [1, 4, 2])
        self.assertAllEqual(widths.grown(start, key, lambda kept: False), start)
        self.assertAllEqual(widths.grown(start, key, lambda kept: True), widths.greatest)


class PartsTest(tf.test.TestCase):
    def test_some_of_the_settings(self):
        control = Control(exclude=("a",), only=("b",), round_to=4)
        self.assertEqual(control.part(("exclude", "only")), Control(exclude=("a",), only=("b",)))
        self.assertEqual(control.part(()), Control())

    def test_what_is_left_in_a_model(self):
        """The second block, which an earlier stage removed, is not there any more."""
        groups = groups_of(small_tasks.residual_network(inner=(5,)))
        limits = {"block2_*": (0.0, 0.5), "stem": (0.0, 0.25)}
        control = Control(exclude=("block2_conv1", "stem", keras.layers.LSTM), ratio_limits=limits, round_to=2)
        left = control.left_in(groups)
        self.assertEqual(left, Control(exclude=("stem",), ratio_limits={"stem": (0.0, 0.25)}, round_to=2))
        self.assertEqual(Control(only=("block2_*", "stem")).left_in(groups), Control(only=("stem",)))
        gone = Control(only=("block2_*",))
        self.assertEqual(gone.left_in(groups), gone)  # whose widths() says that it matches nothing


class RefusedTest(tf.test.TestCase):
    def refused(self, words, **control):
        with self.assertRaisesRegex(ValueError, words):
            Control.of(**control).widths(groups_of(network()))

    def test_a_pattern_without_a_layer(self):
        for argument in ("exclude", "only"):
            self.refused(f"`{argument}` to match a layer.*'inber'.*Close to it: inner", **{argument: ["stem", "inber"]})
            self.refused("'LSTM', which matches none of", **{argument: layers.LSTM})
        self.refused(r"`ratio_limits` to match a layer.*'stage\*'", ratio_limits={"stage*": 0.5})

    def test_contradictions(self):
        self.refused(
            r"ratio_limits\['stem'\]=\(0.5, 0.9\) and ratio_limits\['\*'\]=\(0, 0.3\)",
            ratio_limits={"stem": (0.5, 0.9), "*": 0.3},
        )
        self.refused("exclude='inner', which leaves them whole", exclude="inner", ratio_limits={"inner": (0.1, 0.5)})
        self.refused("and only, which leaves them whole", only="last", ratio_limits={"inner": (0.1, 0.5)})

    def test_what_cannot_be_meant(self):
        for value in ((0.5, 0.2), (-0.1, 0.5), (0.2, 1.1), 2, float("nan"), (0.1,), "a", None):
            with self.assertRaisesRegex(ValueError, "0 <= least <= greatest <= 1.*'inner'"):
                Control.of(ratio_limits={"inner": value})
        for value in (0, -8, 2.5, True, "8"):
            with self.assertRaisesRegex(ValueError, "round_to"):
                Control(round_to=value)
        for value in (3, [3], [""], [None]):
            with self.assertRaisesRegex(TypeError, "Expected `exclude` to be names or patterns"):
                Control(exclude=value)
        with self.assertRaisesRegex(ValueError, "Expected `only` to name layers"):
            Control(only=())

    def test_a_budget_that_is_out_of_reach_names_the_control(self):
        x, y = small_tasks.pictures()
        model = small_tasks.residual_network()
        for control in ({"exclude": "block*"}, {"only": ["stem"]}, {"ratio_limits": {"*": 0.2}}):
            with self.assertRaisesRegex(ValueError, f"at least [01].*Without {next(iter(control))}=.*could be reached"):
                tfcompress.compress(model, Uniform(epochs=0), (x, y), flops_budget=0.3, verbose=0, **control)
        with self.assertRaisesRegex(ValueError, "match a layer.*'blok1_conv1'.*block1_conv1"):
            tfcompress.compress(model, "rlal", (x, y), flops_budget=0.5, verbose=0, exclude="blok1_conv1")
        with self.assertRaisesRegex(ValueError, "only for channels inside blocks.*'stem', between blocks"):
            tfcompress.compress(
                model, Random(epochs=0, tries=1), (x, y), flops_budget=0.6, verbose=0, ratio_limits={"stem": (0.2, 1)}
            )


class FinishedModelTest(tf.test.TestCase):
    """What comes out keeps to every control, whichever method decides."""

    def test_controls_hold(self):
        x, y = small_tasks.pictures()
        model = small_tasks.residual_network(width=12, inner=(20, 24))
        control = {"exclude": "block1_conv1", "ratio_limits": {"block2_conv1": (0.2, 0.9)}, "round_to": 4}
        methods = (
            Uniform(epochs=0),
            Uniform(epochs=0, scope="global"),
            Uniform(epochs=0, steps=3, step_epochs=0),
            Random(epochs=0, tries=2, reward_images=10),
        )
        for method in methods:
            result = tfcompress.compress(model, method, (x, y), flops_budget=0.7, verbose=0, **control)
            with self.subTest(repr(method)):
                self.assertLessEqual(result.after.macs, 0.7 * result.before.macs)
                filters = {f"block{n}_conv1": result.model.get_layer(f"block{n}_conv1").filters for n in (1, 2)}
                self.assertEqual(filters["block1_conv1"], 20)
                self.assertBetween(filters["block2_conv1"], 4, 19)
                self.assertEqual(filters["block2_conv1"] % 4, 0)
                self.assertEqual(result.model.get_layer("stem").filters % 4, 0)
                self.assertIn("exclude=['block1_conv1']", " ".join(result.notes))

    def test_through_norms(self):
        inputs = keras.Input((8, 8, 1))
        y = layers.LayerNormalization(name="norm")(layers.Conv2D(8, 3, name="stream")(inputs))
        y = layers.GlobalAveragePooling2D()(layers.ReLU()(y))
        model = keras.Model(inputs, layers.Dense(small_tasks.CLASSES)(y))
        data = small_tasks.pictures()
        with self.assertRaisesRegex(ValueError, "at least 1.0"):
            tfcompress.compress(model, Uniform(epochs=0), data, flops_budget=0.6, verbose=0)
        result = tfcompress.compress(model, Uniform(epochs=0), data, flops_budget=0.6, verbose=0, through_norms=True)
        self.assertEqual(result.model.get_layer("stream").filters, 4)


class EnvironmentTest(tf.test.TestCase):
    """The agent's bounds with multiples, limits and layers left out: every policy ends within the budget."""

    def test_any_policy(self):
        groups = groups_of(small_tasks.residual_network(width=8, inner=(20, 24, 10)))
        costs, units = CostModel(groups), pruning_units(groups)
        index = {name: i for i, name in enumerate(groups.groups)}
        rng = np.random.default_rng(0)
        policies = (lambda _: 0.0, lambda _: 1.0, lambda _: rng.random())
        for settings, share in itertools.product(
            (
                {"round_to": 4},
                {"exclude": "block2_conv1"},
                {"ratio_limits": {"block1_conv1": (0.2, 0.5)}, "round_to": 2},
            ),
            (None, 0.75, 0.9),
        ):
            control = Control.of(**settings)
            widths = control.widths(groups)
            if share is None:  # a little above what can just be reached
                least = np.where([name.startswith("block") for name in groups.groups], widths.least, costs.sizes)
                limits = {"macs": int(1.02 * costs.of_kept(least).macs)}
            else:
                limits = Budget(flops=share).limits(costs.total)
            env = PruningEnvironment(costs, units, Budget(limits), widths)
            for policy in policies * 3:
                state = env.reset()
                rates = []
                while not env.done:
                    state, rate = env.step(policy(state))
                    rates.append(rate)
                self.assertLessEqual(costs.of_kept(env.kept).macs, limits["macs"])
                self.assertAllEqual(widths.floor(env.kept), env.kept)
                # Below the budget by less than one step of the last unit that the agent acts on.
                last = index[env.units[-1].name]
                more = env.kept
                more[last] = min(more[last] + int(widths.step[last]), widths.greatest[last])
                if more[last] > env.kept[last]:
                    self.assertGreater(costs.of_kept(more).macs, limits["macs"], (settings, share))
                replay = iter(rates)
                kept = env.kept
                env.reset()
                while not env.done:
                    env.step(next(replay))
                self.assertAllEqual(env.kept, kept)

    def test_units_without_a_choice_are_left_out(self):
        groups = groups_of(small_tasks.residual_network(inner=(5, 7)))
        costs = CostModel(groups)
        widths = Control.of(exclude="block1_conv1").widths(groups)
        env = PruningEnvironment(costs, pruning_units(groups), Budget({"macs": costs.total.macs}), widths)
        self.assertEqual([unit.name for unit in env.units], ["block2_conv1"])
        nothing = Control.of(exclude="*").widths(groups)
        with self.assertRaisesRegex(ValueError, "every channel is fixed or left out"):
            PruningEnvironment(costs, pruning_units(groups), Budget({"macs": costs.total.macs}), nothing)


class InspectTest(tf.test.TestCase):
    def test_feasibility(self):
        """By hand: 36 positions; stem 2 x 20, inner 20 x 17, depthwise 9 x 17, outer 17 x 20, last 20 x 6, head 6 x 3."""
        total = 36 * (40 + 340 + 153 + 340 + 120) + 18
        text = []
        tfcompress.inspect(network(), text.append, exclude=["last"], only="*", round_to=4)
        rows = [line.split() for line in text[0].splitlines()]
        head = next(row for row in rows if row[:2] == ["share", "of"])
        self.assertEqual(" ".join(head[4:]), "all groups inside blocks exclude only round_to=4 all settings")
        smallest = next(row for row in rows if row and row[0] == "smallest")
        least = {
            "all": 36 * (2 + 1 + 9 + 1 + 1) + 3,
            "inside": 36 * (40 + 20 + 9 + 20 + 120) + 18,  # one channel of inner
            "exclude": 36 * (2 + 1 + 9 + 1 + 6) + 18,
            "only": 36 * (2 + 1 + 9 + 1 + 1) + 3,
            "round_to": 36 * (8 + 16 + 36 + 16 + 16) + 12,
            "together": 36 * (8 + 16 + 36 + 16 + 24) + 18,
        }
        self.assertEqual(smallest[1:], [f"{macs / total:.4f}" for macs in least.values()])
        half = next(row for row in rows if row[:1] == ["0.5"])
        for cell in half[1:]:
            self.assertTrue(cell == "-" or float(cell) <= 0.5)
        tenth = next(row for row in rows if row[:1] == ["0.1"])
        self.assertEqual(tenth[2], "-")  # inside blocks: at least 0.21

    def test_a_wrong_control_is_said(self):
        with self.assertRaisesRegex(ValueError, "'nothing', which matches none"):
            tfcompress.inspect(network(), exclude="nothing")


class SettingsTest(tf.test.TestCase):
    def test_run_folders_tell_controls_apart(self):
        controls = (
            Control(),
            Control(exclude="a"),
            Control(only="a"),
            Control(exclude=layers.Dense),
            Control(ratio_limits={"a": 0.5}),
            Control(ratio_limits={"a": (0.1, 0.5)}),
            Control(round_to=8),
            Control(through_norms=True),
        )
        self.assertLen({repr(control.settings()) for control in controls}, len(controls))
        self.assertEqual(Control().settings(), {})

    def test_widths_are_plain(self):
        fields = {field.name for field in dataclasses.fields(Widths)}
        self.assertEqual(fields, {"sizes", "least", "greatest", "step", "floors", "rounds"})


if __name__ == "__main__":
    tf.test.main()
