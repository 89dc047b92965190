"""The student does what the source does without the removed channels; the source stays as it was.

What is asked of every topology of tests/helpers/topologies is in tests/end_to_end/test_topologies.py.
"""

import json
import pathlib

import keras
import numpy as np
import oracles
import tensorflow as tf
import topologies
from keras import layers

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import Plan
from tfcompress.rewrite import apply


def _flat_weights(model):
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


class CutTest(tf.test.TestCase):
    def test_a_plan_without_edits_copies_the_model(self):
        for name in ("nested_backbone", "shared_conv", "text", "normalization_adapted", "recurrent", "sequential"):
            with self.subTest(name=name):
                model, _, inputs = topologies.build(name)
                copy = apply(model, Plan())
                self.assertIsNot(copy, model)
                self.assertAllEqual(oracles.call(copy, inputs)[0], oracles.call(model, inputs)[0])

    def test_cutting_twice_is_cutting_once(self):
        """Keeping (1, 3, 4) of what (0, 2, 3, 5, 6) left is keeping (2, 5, 6)."""
        x = keras.Input((6, 5, 3))
        y = layers.Conv2D(7, 3, name="first", activation="tanh")(x)
        y = layers.Add()([y, layers.Conv2D(7, 3, padding="same", name="second")(y)])
        model = keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))
        twice = apply(apply(model, Plan.keeping({"first": (0, 2, 3, 5, 6)})), Plan.keeping({"first": (1, 3, 4)}))
        once = apply(model, Plan.keeping({"first": (2, 5, 6)}))
        for one, other in zip(once.get_weights(), twice.get_weights(), strict=True):
            self.assertAllEqual(one, other)

    def test_groups_may_be_given(self):
        model, groups, inputs = topologies.build("residual")
        plan = oracles.plan_of("residual", "some")
        given, read = apply(model, plan, groups), apply(model, plan)
        self.assertAllEqual(oracles.call(given, inputs)[0], oracles.call(read, inputs)[0])

    def test_plans_for_another_model_are_refused(self):
        model = topologies.build("conv_chain").model
        with self.assertRaisesRegex(KeyError, r"'third'.*first.*second"):
            apply(model, Plan.keeping({"third": (0,)}))
        with self.assertRaisesRegex(ValueError, r"below 5, the size of group 'first'.*5"):
            apply(model, Plan.keeping({"first": (0, 5)}))

    def test_a_layer_that_cannot_be_made_again_is_refused_by_its_name(self):
        class Forgetful(layers.Layer):
            """Its config lacks what its constructor asks for, or holds what it does not take."""

            def __init__(self, steps, extra=None, **options):
                super().__init__(**options)
                self.steps, self.extra = steps, extra

            def call(self, inputs):
                return inputs + self.steps

            def get_config(self):
                return {**keras.layers.Layer.get_config(self), **(self.extra or {})}

        class Silent(Forgetful):
            def get_config(self):
                raise NotImplementedError("no config")

        for layer in (Forgetful(2, name="own"), Forgetful(2, {"patches": 4}, name="own"), Silent(2, name="own")):
            x = keras.Input((6, 5, 3))
            model = keras.Model(x, layers.Conv2D(2, 1)(layer(layers.Conv2D(4, 1)(x))))
            with self.assertRaisesRegex(TypeError, rf"{type(layer).__name__} to be rebuilt.*'own'.*get_config\(\)"):
                apply(model, Plan())


class SourceTest(tf.test.TestCase):
    def test_weights_that_are_handed_on_whole_are_not_shared(self):
        """A layer with initializers and one without, each changed on one side by `assign` and by `assign_add`."""

        class Scaled(layers.Layer):
            def build(self, input_shape):
                self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

            def call(self, inputs):
                return inputs * self.scale

        inputs = keras.Input((3,))
        source = keras.Model(inputs, Scaled()(layers.Dense(2)(inputs)))
        source.set_weights([weight + 3 for weight in source.get_weights()])
        before = [np.array(weight) for weight in source.get_weights()]
        student = apply(source, Plan())
        for variable in student.variables:
            variable.value.assign_add(tf.ones_like(variable.value))
        self.assertAllEqual(np.concatenate([w.ravel() for w in before]), _flat_weights(source))
        self.assertAllEqual(_flat_weights(source) + 1, _flat_weights(student))
        source.variables[0].value.assign_sub(tf.ones_like(source.variables[0].value))
        self.assertAllEqual(student.variables[0], before[0] + 1)


class StudentTest(tf.test.TestCase):
    def test_calls_take_and_give_what_those_of_the_source_do(self):
        model, _, inputs = topologies.build("dict_inputs_and_outputs")
        student = oracles.student_of("dict_inputs_and_outputs", "some")
        self.assertEqual([t.name for t in student.inputs], [t.name for t in model.inputs])
        outputs = student({"facts": inputs["facts"], "photo": inputs["photo"]})
        self.assertEqual((outputs["scores"].shape, outputs["more"]["vector"].shape), ((3, 3), (3, 5)))
        model, _, inputs = topologies.build("lists_of_one")
        student = oracles.student_of("lists_of_one", "some")
        self.assertEqual((type(student.input), type(student.output)), (list, list))
        self.assertEqual(type(student(inputs)), type(model(inputs)))

    def test_a_loaded_student_can_be_cut_again(self):
        path = pathlib.Path(self.get_temp_dir()) / "student.keras"
        for name in ("residual_padded_shortcut", "squeeze_excite_reshape_first", "slice_of_channels", "shared_conv"):
            with self.subTest(name=name):
                student, inputs = oracles.student_of(name, "some"), topologies.build(name).inputs
                student.save(path)
                loaded = keras.models.load_model(path)
                groups = ChannelGroups.of(LayerGraph.from_keras(loaded))
                sizes = {edit.group: len(edit.indices) for edit in oracles.plan_of(name, "some")}
                self.assertEqual({group.name: group.size for group in groups}, sizes)
                plan = oracles.one_channel(groups, np.random.default_rng(0))
                expected = oracles.masked_outputs(loaded, groups, plan, inputs)
                self.assertLessEqual(oracles.relative_error(oracles.call(apply(loaded, plan), inputs), expected), 1e-5)

    def test_frozen_layers_stay_frozen(self):
        student = oracles.student_of("frozen", "some")
        trainable = {layer.name: layer.trainable for layer in student.layers if layer.variables}
        expected = {"frozen_conv": False, "frozen_inner": False, "frozen_norm": False, "free_conv": True}
        self.assertEqual({name: trainable[name] for name in expected}, expected)
        self.assertEqual({v.path.split("/")[0] for v in student.trainable_variables} & set(expected), {"free_conv"})

    def test_flags_that_no_config_holds_are_kept(self):
        x = keras.Input((4, 6))
        attention, dense = layers.MultiHeadAttention(2, 3, name="attention"), layers.Dense(4, name="dense")
        model = keras.Model(x, dense(attention(x, x)))
        attention.trainable = False
        dense.kernel.trainable = False
        student = apply(model, Plan())
        self.assertEqual([v.path for v in student.trainable_variables], ["dense/bias"])
        self.assertFalse(any(layer.trainable for layer in student.get_layer("attention")._flatten_layers()))

    def test_dtype_policies_are_kept(self):
        for name in ("mixed_precision", "half_precision_weights"):
            with self.subTest(name=name):
                old = topologies.build(name).groups.graph.operations
                new = LayerGraph.from_keras(oracles.student_of(name, "some")).operations
                for layer, operation in old.items():
                    self.assertEqual(new[layer].dtype_policy.name, operation.dtype_policy.name)
                    self.assertEqual([v.dtype for v in new[layer].variables], [v.dtype for v in operation.variables])

    def test_settings_of_layers_are_kept(self):
        """All but the widths: initialisers, regularisers, strides, momentum, ..."""
        x = keras.Input((6, 5, 3))
        y = layers.Conv2D(
            5,
            (3, 2),
            strides=(2, 1),
            activation="gelu",
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.25),
            name="conv",
        )(x)
        y = layers.BatchNormalization(momentum=0.75, epsilon=0.125, name="norm")(y)
        y = layers.Dropout(0.375, seed=7, name="drop")(y)
        model = keras.Model(x, layers.Dense(2, name="logits")(layers.Flatten()(y)))
        student = apply(model, Plan.keeping({"conv": (1, 2)}))
        for layer in model.layers:
            old, new = layer.get_config(), student.get_layer(layer.name).get_config()
            changed = {key for key in old if json.dumps(old[key], default=str) != json.dumps(new[key], default=str)}
            self.assertEqual(changed, {"filters"} if layer.name == "conv" else set())

    def test_a_student_trains(self):
        student = oracles.student_of("residual_padded_shortcut", "one")
        copy = keras.models.clone_model(student)
        copy.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        before = [keras.ops.convert_to_numpy(v) for v in copy.trainable_variables]
        inputs = topologies.build("residual_padded_shortcut").inputs
        copy.fit(inputs, np.array([0, 1, 2]), epochs=1, verbose=0)
        for old, new in zip(before, copy.trainable_variables, strict=True):
            self.assertTrue(np.all(np.isfinite(new)))
            self.assertEqual(old.shape, tuple(new.shape))
        self.assertTrue(any(np.any(old != new) for old, new in zip(before, copy.trainable_variables, strict=True)))


if __name__ == "__main__":
    tf.test.main()
