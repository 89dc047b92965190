"""Plans are plain data: what they refuse, and that JSON gives back what it was given."""

import json
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from tfcompress.plan import KeepChannels, Plan, Reconfigure, RemoveLayers, ReplaceLayers, Trail


class KeepChannelsTest(tf.test.TestCase):
    def test_indices_become_a_tuple_of_ints(self):
        edit = KeepChannels("conv", np.array([0, 2, 5]))
        self.assertEqual(edit.indices, (0, 2, 5))
        self.assertEqual({type(i) for i in edit.indices}, {int})
        self.assertEqual(edit, KeepChannels("conv", [0, 2, 5]))

    def test_indices_are_ascending_unique_not_negative_and_at_least_one(self):
        for indices in ((), (1, 0), (1, 1), (-1, 0), (0, 3, 3)):
            with self.assertRaisesRegex(ValueError, r"ascending, unique, not negative.*group='conv'"):
                KeepChannels("conv", indices)

    def test_edits_do_not_change(self):
        with self.assertRaises(AttributeError):
            KeepChannels("conv", (0,)).group = "other"


class PlanTest(tf.test.TestCase):
    def test_keeping(self):
        plan = Plan.keeping({"b": (1,), "a": (0, 2)})
        self.assertEqual(plan.edits, (KeepChannels("b", (1,)), KeepChannels("a", (0, 2))))
        self.assertEqual(list(plan), list(plan.edits))
        self.assertLen(plan, 2)
        self.assertLen(Plan(), 0)
        self.assertEqual(Plan([KeepChannels("b", (1,)), KeepChannels("a", (0, 2))]), plan)

    def test_one_edit_for_a_group(self):
        edits = [KeepChannels("a", (0,)), KeepChannels("b", (0,)), KeepChannels("a", (1,))]
        with self.assertRaisesRegex(ValueError, r"at most one edit.*\['a'\]"):
            Plan(edits)

    def test_json_round_trip(self):
        for plan in (Plan(), Plan.keeping({"stem": (0, 1, 7), "section1/conv:2": np.arange(3, 300, 7)})):
            text = plan.to_json()
            self.assertEqual(Plan.from_json(text), plan)
            self.assertEqual(Plan.from_json(json.dumps(json.loads(text))).to_json(), text)

    def test_json_names_its_format_and_its_edits(self):
        data = json.loads(Plan.keeping({"stem": (0, 2)}).to_json())
        edits = [{"edit": "KeepChannels", "group": "stem", "indices": [0, 2]}]
        self.assertEqual(data, {"format": 2, "weights": "inherited", "edits": edits})

    def test_text_that_is_no_plan_is_refused(self):
        for text in (
            "no json",
            "[]",
            "3",
            "{}",
            '{"format": 3, "weights": "inherited", "edits": []}',
            '{"format": 1, "edits": []}',
            '{"format": 2, "edits": []}',
            '{"format": 2, "weights": "none", "edits": []}',
            '{"format": 2}',
            '{"format": 2, "weights": "inherited", "edits": 3}',
            '{"format": 2, "weights": "inherited", "edits": ["KeepChannels"]}',
            '{"format": 2, "weights": "inherited", "edits": [{"group": "a", "indices": [0]}]}',
            '{"format": 2, "weights": "inherited", "edits": [{"edit": "KeepChannels", "indices": [0]}]}',
            '{"format": 2, "weights": "inherited", "edits": [{"edit": "KeepChannels", "group": "a", "indices": [1, 0]}]}',
            '{"format": 2, "weights": "inherited", "edits": [{"edit": "KeepChannels", "group": "a", "indices": []}]}',
        ):
            with self.subTest(text=text), self.assertRaises(ValueError):
                Plan.from_json(text)

    def test_a_later_format_and_unknown_edits_are_named(self):
        with self.assertRaisesRegex(ValueError, "format 2. Received: format=1"):
            Plan.from_json('{"format": 1, "edits": []}')
        with self.assertRaisesRegex(ValueError, "PaintBlue"):
            Plan.from_json(
                '{"format": 2, "weights": "inherited", "edits": [{"edit": "PaintBlue", "group": "a", "indices": [0]}]}'
            )

    def test_an_older_format_is_refused_with_a_reason(self):
        with self.assertRaisesRegex(ValueError, "format=1. An older tfcompress wrote plans of format 1"):
            Plan.from_json('{"format": 1, "edits": [{"edit": "KeepChannels", "group": "a", "indices": [0]}]}')

    def test_structural_edits_in_json(self):
        dense = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}}
        plan = Plan(
            (
                RemoveLayers(("a", "b")),
                ReplaceLayers(("c",), dense),
                ReplaceLayers.by_part("d", "wide"),
                Reconfigure("e", {"kernel_size": (3, 1), "activation": None}),
                KeepChannels("c_dense", (0, 2)),
            ),
            weights="fresh",
        )
        self.assertEqual(Plan.from_json(plan.to_json()), plan)
        self.assertEqual(hash(Plan.from_json(plan.to_json())), hash(plan))
        self.assertEqual(plan.structural, plan.edits[:4])
        self.assertEqual((plan.removed, plan.channels), (("a", "b"), plan.edits[4:]))
        self.assertEqual(json.loads(plan.to_json())["edits"][3]["config"], {"kernel_size": [3, 1], "activation": None})

    def test_structural_edits_refuse_early(self):
        keras_layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}}
        own = {**keras_layer, "module": "my_code", "registered_name": "mine>Dense"}
        other = {**keras_layer, "module": "keras_hub.layers"}
        code = {"module": "keras.layers", "class_name": "Lambda", "config": {}}
        function = {**keras_layer, "config": {"activation": {"class_name": "__lambda__", "config": {}}}}
        chain = {"module": "keras", "class_name": "Sequential", "config": {"layers": [keras_layer, own]}}
        for wrong, what in (
            (lambda: ReplaceLayers((), keras_layer), "names of nodes"),
            (lambda: ReplaceLayers(("a",), {"class_name": "Dense"}), "serialised Keras layer"),
            (lambda: ReplaceLayers(("a",), {"part": 3}), "name of a part"),
            (lambda: ReplaceLayers(("a", "b"), {"part": "x"}), "one node"),
            (lambda: ReplaceLayers(("a",), own), r"stock Keras layers.*mine>Dense"),
            (lambda: ReplaceLayers(("a",), other), r"stock Keras layers.*\['Dense'\]"),
            (lambda: ReplaceLayers(("a",), code), r"stock Keras layers.*\['Lambda'\]"),
            (lambda: ReplaceLayers(("a",), function), r"stock Keras layers.*__lambda__"),
            (lambda: ReplaceLayers(("a",), chain), r"stock Keras layers.*\['mine>Dense'\]"),
            (lambda: ReplaceLayers(("a",), {"config": {}}), "serialised Keras layer"),
            (lambda: ReplaceLayers(("a",), {**keras_layer, "rate": float("nan")}), "replacement.*plain data"),
            (lambda: ReplaceLayers.by(("a",), "dense"), "`layers` to be a keras.Layer"),
            (lambda: ReplaceLayers(("a", "a"), keras_layer), "names of nodes, unique"),
            (lambda: RemoveLayers(("a", "a")), "names of nodes, unique"),
            (lambda: Reconfigure("a", {}), "kernel_size, strides, dilation_rate, padding, activation"),
            (lambda: Reconfigure("a", {"filters": 3}), "kernel_size, strides.*ReplaceLayers"),
            (lambda: Reconfigure("a", {"strides": 0}), "strides"),
            (lambda: Reconfigure("a", {"kernel_size": [3, 1.5]}), "kernel_size"),
            (lambda: Reconfigure("a", {"kernel_size": [3, 0]}), "kernel_size"),
            (lambda: Reconfigure("a", {"kernel_size": []}), "kernel_size"),
            (lambda: Reconfigure("a", {"kernel_size": [1, 1, 1, 1]}), "kernel_size"),
            (lambda: Reconfigure("a", {"padding": "full"}), "padding"),
            (lambda: Reconfigure("a", {"activation": 3}), "activation"),
            (lambda: Plan((), weights="old"), "weights"),
            (lambda: Plan((RemoveLayers(("a",)), Reconfigure("a", {"strides": 2}))), r"each node.*\['a'\]"),
            (lambda: Plan((ReplaceLayers(("a", "b"), keras_layer), RemoveLayers(("b",)))), r"each node.*\['b'\]"),
        ):
            with self.subTest(what), self.assertRaisesRegex(ValueError, what):
                wrong()

    def test_edits_of_equal_contents_are_one(self):
        """Whatever the order of their settings."""
        layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3, "use_bias": True}}
        turned = {"config": {"use_bias": True, "units": 3}, "class_name": "Dense", "module": "keras.layers"}
        self.assertLen({ReplaceLayers(("a",), layer), ReplaceLayers(("a",), turned)}, 1)
        settings = {"strides": 2, "padding": "same"}
        self.assertLen({Reconfigure("a", settings), Reconfigure("a", dict(reversed(settings.items())))}, 1)

    def test_a_replacement_is_not_what_its_model_was_compiled_with(self):
        model = keras.Sequential([keras.layers.Dense(3)], name="small")
        plain = ReplaceLayers.by(("a",), model)
        model.compile("sgd", "mse")
        self.assertEqual(ReplaceLayers.by(("a",), model), plain)

    def test_the_module_loads_no_keras(self):
        code = "import sys, tfcompress.plan; print(sorted({'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual(result.stdout.strip(), "[]")


class KeepingFirstTest(tf.test.TestCase):
    def test_the_first_of_each_order_and_nothing_of_whole_groups(self):
        orders = {"a": [3, 0, 2, 1], "b": [1, 0], "c": [0, 1, 2]}
        found = Plan.keeping_first(orders, {"c": 1, "b": 2, "a": 3})
        self.assertEqual([(e.group, e.indices) for e in found], [("c", (0,)), ("a", (0, 2, 3))])


class WeightsTest(tf.test.TestCase):
    def test_a_word_or_a_file_inside_the_folder(self):
        for weights, file in (("inherited", None), ("fresh", None), ("model.keras", "model.keras")):
            plan = Plan((KeepChannels("a", (0,)),), weights)
            self.assertEqual((plan.weights, plan.weights_file), (weights, file))
            self.assertEqual(Plan.from_json(plan.to_json()), plan)
        self.assertEqual(Plan().weights, "inherited")
        self.assertNotEqual(Plan(weights="fresh"), Plan())

    def test_refused(self):
        for weights in ("", "new", "model.h5", "../model.keras", "/tmp/model.keras", "a\\model.keras", None, 3):
            with self.assertRaisesRegex(ValueError if isinstance(weights, str) else TypeError, "Expected `weights`"):
                Plan(weights=weights)


class TrailTest(tf.test.TestCase):
    def trail(self):
        first = Plan.keeping({"a": (1, 3, 4, 6), "b": (0, 2)})
        return Trail((first,)).then(Plan.keeping({"a": (0, 3)})).then(Plan(weights="fresh"))

    def test_plans_one_after_the_other(self):
        trail = self.trail()
        self.assertLen(trail, 3)
        self.assertEqual(list(trail), list(trail.plans))
        self.assertEqual(trail.last, Plan(weights="fresh"))
        self.assertEmpty(trail.files)
        trained = trail.ending_with("model.keras")
        self.assertEqual(trained.plans, (*trail.plans[:2], Plan(weights="model.keras")))
        self.assertEqual(trained.files, ("model.keras",))
        self.assertEqual(Trail(list(trail.plans)), trail)

    def test_json(self):
        trail = self.trail().ending_with("candidate-1.keras")
        self.assertEqual(Trail.from_json(trail.to_json()), trail)
        data = json.loads(trail.to_json())
        self.assertEqual((data["format"], len(data["plans"])), (1, 3))
        self.assertEqual(data["plans"][1], json.loads(trail.plans[1].to_json()))

    def test_refused(self):
        for plans in ((), Plan(), [Plan(), "plan"], None, 3):
            with self.assertRaisesRegex((TypeError, ValueError), "Expected `plans` to be plans"):
                Trail(plans)
        plan = Plan().to_json()
        texts = ("no json", "[]", "3", "{}", plan, f'{{"format": 2, "plans": [{plan}]}}', '{"format": 1, "plans": []}')
        for text in (*texts, '{"format": 1, "plans": [3]}', '{"format": 1, "plans": {"a": 1}}'):
            with self.subTest(text=text), self.assertRaisesRegex(ValueError, "Expected"):
                Trail.from_json(text)


if __name__ == "__main__":
    tf.test.main()
