"""Which channels live and die together, and which must stay, by hand."""

import keras
import numpy as np
import tensorflow as tf
import topologies
from keras import layers, ops

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.graph.handlers import Handler, WeightAxes, handles
from tfcompress.graph.labels import Labels
from tfcompress.plan import Plan
from tfcompress.rewrite import apply


def groups_of(inputs, outputs):
    return ChannelGroups.of(LayerGraph.from_keras(keras.Model(inputs, outputs)))


def described(groups):
    """`{name: (size, producers, readers, carriers)}`."""
    return {group.name: (group.size, group.producers, group.readers, group.carriers) for group in groups}


def conv(filters, name, kernel_size=1, **options):
    return layers.Conv2D(filters, kernel_size, padding="same", name=name, **options)


class MembershipTest(tf.test.TestCase):
    def test_chain(self):
        x = keras.Input((6, 5, 3))
        y = layers.ReLU()(layers.BatchNormalization(name="norm")(conv(5, "first")(x)))
        y = layers.GlobalAveragePooling2D()(conv(7, "second")(layers.MaxPooling2D(2)(y)))
        groups = groups_of(x, layers.Dense(2, name="logits")(y))
        self.assertEqual(
            described(groups),
            {"first": (5, ("first",), ("second",), ("norm",)), "second": (7, ("second",), ("logits",), ())},
        )
        self.assertEqual(len(groups), 2)
        self.assertEqual(groups["second"].size, 7)
        self.assertEqual(groups.unknown, ())

    def test_a_sum_ties_its_branches(self):
        x = keras.Input((6, 5, 3))
        y = conv(5, "stem")(x)
        z = conv(5, "out")(conv(7, "inner")(y))
        y = layers.Add()([y, z])
        groups = groups_of(x, conv(2, "head")(y))
        self.assertEqual(
            described(groups),
            {"stem": (5, ("stem", "out"), ("inner", "head"), ()), "inner": (7, ("inner",), ("out",), ())},
        )

    def test_padded_shortcut_of_two_widths(self):
        """A stream of 4 channels that becomes channels 2-5 of 8: the 4, and the 4 that the padding adds."""
        x = keras.Input((8, 8, 3))
        y = layers.Add(name="add1")([stem := conv(4, "stem")(x), conv(4, "b1")(conv(5, "a1")(stem))])
        shortcut = ops.pad(y[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [2, 2]])
        y = layers.Add(name="add2")([shortcut, conv(8, "b2")(conv(7, "a2", strides=2)(y))])
        y = layers.Add(name="add3")([y, conv(8, "b3")(conv(3, "a3")(y))])
        groups = groups_of(x, layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(y)))
        self.assertEqual(
            described(groups),
            {
                "stem": (4, ("stem", "b1", "b2", "b3"), ("a1", "a2", "a3", "logits"), ()),
                "a1": (5, ("a1",), ("b1",), ()),
                "a2": (7, ("a2",), ("b2",), ()),
                "b2": (4, ("b2", "b3"), ("a3", "logits"), ()),
                "a3": (3, ("a3",), ("b3",), ()),
            },
        )

    def test_padded_shortcuts_of_three_widths(self):
        """Along the stream of a ResNet with widths 4, 8 and 12: the first 4, the next 4 and the last 4."""
        groups = topologies.build("residual_padded_shortcut").groups
        along = [group for group in groups if len(group.producers) > 1 or "dense" in group.readers[-1]]
        self.assertEqual([group.size for group in along], [4, 4, 4])
        self.assertEqual([group.size for group in groups if group not in along], [5, 7, 5])

    def test_grouped_convolution_ties_whole_blocks(self):
        x = keras.Input((6, 5, 3))
        y = layers.Conv2D(12, 3, groups=4, name="grouped")(conv(8, "before")(x))
        groups = groups_of(x, conv(2, "after")(y))
        self.assertEqual(described(groups), {"before": (4, ("before", "grouped"), ("after",), ())})
        # Position 1 of the group is the second block: inputs 2 and 3, outputs 3, 4 and 5.
        axes = groups.weight_axes()
        member = groups.roots == groups["before"].roots[1]
        self.assertAllEqual(np.flatnonzero(member[axes["before"][0].writes[3]]), [2, 3])
        self.assertAllEqual(np.flatnonzero(member[axes["grouped"][0].writes[3]]), [3, 4, 5])

    def test_depthwise_carries_its_channels(self):
        x = keras.Input((6, 5, 3))
        y = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(conv(5, "expand")(x))
        groups = groups_of(x, conv(2, "project")(y))
        self.assertEqual(described(groups), {"expand": (5, ("expand",), ("project",), ("depthwise",))})

    def test_separable_reads_writes_and_carries(self):
        x = keras.Input((6, 5, 3))
        y = layers.SeparableConv2D(4, 3, name="separable")(conv(5, "before")(x))
        groups = groups_of(x, conv(2, "after")(y))
        self.assertEqual(
            described(groups),
            {
                "before": (5, ("before",), ("separable",), ("separable",)),
                "separable": (4, ("separable",), ("after",), ()),
            },
        )

    def test_concatenation_keeps_branches_apart(self):
        x = keras.Input((6, 5, 3))
        y = layers.Concatenate()([conv(5, "left")(x), conv(7, "right")(x)])
        groups = groups_of(x, conv(2, "after")(layers.BatchNormalization(name="norm")(y)))
        self.assertEqual(
            described(groups),
            {"left": (5, ("left",), ("after",), ("norm",)), "right": (7, ("right",), ("after",), ("norm",))},
        )

    def test_sum_of_concatenations_splits_groups(self):
        """[a 3, b 5] + [c 4, d 4]: a with c's first 3; b's first with c's last; b's last 4 with d."""
        groups = topologies.build("concatenate_then_sum").groups
        self.assertEqual(
            {group.name: (group.size, group.producers) for group in groups if "after" in group.readers},
            {"a": (3, ("a", "c")), "b": (1, ("b", "c")), "b:2": (4, ("b", "d"))},
        )

    def test_slices_split_groups(self):
        groups = topologies.build("slice_of_channels").groups
        self.assertEqual(
            described(groups),
            {
                "whole": (5, ("whole",), ("left",), ()),
                "whole:2": (3, ("whole",), ("right",), ()),
                "left": (4, ("left",), ("after",), ()),
                "right": (7, ("right",), ("after",), ()),
                "after": (5, ("after",), (groups["after"].readers[0],), ()),
            },
        )

    def test_a_shared_layer_whose_calls_have_their_channels_on_different_axes(self):
        image, shared = keras.Input((3, 4, 4)), layers.PReLU(name="shared")
        turned = layers.Permute((1, 3, 2))(conv(4, "second")(image))
        y = layers.Concatenate(axis=1)([shared(conv(4, "first")(image)), shared(turned)])
        found = groups_of(image, conv(5, "after")(y))
        self.assertLen(found, 0)
        reasons = {fixed.layer: fixed.reason for fixed in found.fixed}
        self.assertIn("different axes", reasons["first"])
        self.assertIn("different axes", reasons["second"])

    def test_shared_layers_tie_what_they_are_called_with(self):
        norm, shared = layers.BatchNormalization(name="norm"), conv(7, "shared")
        x = keras.Input((6, 5, 3))
        first, second = norm(conv(5, "first")(x)), norm(conv(5, "second")(x))
        y = layers.Concatenate()([shared(first), shared(second)])
        groups = groups_of(x, conv(2, "after")(y))
        self.assertEqual(
            described(groups),
            {
                "first": (5, ("first", "second"), ("shared",), ("norm",)),
                "shared": (7, ("shared",), ("after",), ()),
            },
        )

    def test_flatten_and_dense(self):
        groups = topologies.build("flatten_dense").groups
        self.assertEqual(
            described(groups),
            {"conv": (5, ("conv",), ("hidden",), ("norm",)), "hidden": (7, ("hidden",), ("logits",), ())},
        )
        reads = groups.weight_axes()["hidden"][0].reads[0]
        # 12 positions, each with the 5 channels in order.
        self.assertAllEqual(reads.reshape(12, 5), np.tile(groups["conv"].roots, (12, 1)))

    def test_zeros_that_nothing_is_added_to_are_a_group_of_their_own(self):
        groups = topologies.build("padded_channels_alone").groups
        alone = [group for group in groups if not group.producers]
        self.assertEqual([group.size for group in alone], [3])
        self.assertLen(alone[0].readers, 1)


class FixedTest(tf.test.TestCase):
    def reasons(self, groups):
        """`{layer: (channels, node, reason)}`; each layer has one reason here."""
        return {f.layer: (f.channels, f.node, f.reason) for f in groups.fixed}

    def test_the_outputs_of_the_model_stay(self):
        groups = topologies.build("output_in_the_middle").groups
        self.assertEqual(self.reasons(groups)["features"], (5, "features", "output of the model"))
        x = keras.Input((3,))
        y = layers.Dense(5, name="hidden")(x)
        groups = groups_of(x, {"a": layers.Dense(3, name="logits")(y), "b": layers.Dense(4, name="vector")(y)})
        self.assertEqual(
            self.reasons(groups),
            {
                "logits": (3, "logits", "output of the model"),
                "vector": (4, "vector", "output of the model"),
            },
        )

    def test_every_kind_of_last_layer_is_reported(self):
        x = keras.Input((6, 5, 4))
        for layer in (
            layers.Conv2D(4, 1, name="last"),
            layers.Conv2D(4, 1, groups=2, name="last"),
            layers.SeparableConv2D(4, 1, name="last"),
            layers.Conv2DTranspose(4, 1, name="last"),
            layers.Dense(4, name="last"),
        ):
            with self.subTest(layer=type(layer).__name__):
                self.assertEqual(self.reasons(groups_of(x, layer(x)))["last"][0], 4)

    def test_an_unknown_layer_fixes_what_it_reads_and_what_it_gives(self):
        groups = topologies.build("unknown_layer").groups
        reasons = self.reasons(groups)
        self.assertEqual(reasons["into"], (5, "roll", "no handler for RollChannels"))
        self.assertEqual(reasons["roll"], (5, "roll", "no handler for RollChannels"))
        self.assertEqual([node.name for node in groups.unknown], ["roll"])
        self.assertEqual(list(groups.groups)[:2], ["before", "out_of"])

    def test_a_subclass_of_a_known_layer_is_unknown(self):
        class Twice(layers.Conv2D):
            def call(self, inputs):
                return super().call(super().call(inputs))

        x = keras.Input((6, 5, 3))
        groups = groups_of(x, conv(2, "after")(Twice(3, 1, name="twice")(conv(3, "before")(x))))
        self.assertEqual(self.reasons(groups)["before"], (3, "twice", "no handler for Twice"))
        self.assertEqual(described(groups), {})

    def test_normalisation_over_channels(self):
        for layer in (
            layers.LayerNormalization(name="norm"),
            layers.GroupNormalization(2, name="norm"),
            layers.RMSNormalization(name="norm"),
            layers.UnitNormalization(name="norm"),
        ):
            kind = type(layer).__name__
            with self.subTest(kind=kind):
                x = keras.Input((6, 5, 3))
                groups = groups_of(x, conv(2, "after")(layer(conv(4, "stream")(x))))
                self.assertEqual(self.reasons(groups)["stream"], (4, "norm", f"{kind} normalises over the channels"))

    def test_a_fixed_branch_fixes_the_whole_stream(self):
        groups = topologies.build("group_normalization_in_a_residual").groups
        reasons = self.reasons(groups)
        for layer in ("stem", "branch"):
            self.assertEqual(reasons[layer], (6, "norm", "GroupNormalization normalises over the channels"))
        self.assertIn("inner", groups.groups)

    def test_reasons_name_what_is_to_blame(self):
        expected = {
            ("two_outputs", "probabilities"): "activation 'softmax'",
            ("softmax_in_the_middle", "mixed"): "activation 'softmax'",
            ("activation_that_mixes", "own"): "activation 'less_the_mean'",
            ("rescaling_of_each_channel", "into"): "Rescaling has a scale or an offset for each channel",
            ("subclassed_model_inside", "into"): "no handler for Mixer",
            ("subclassed_model_inside", "mixer"): "no handler for Mixer",
            ("unknown_lambda", "into"): "no handler for Lambda",
            ("normalization_in_the_middle", "into"): "Normalization holds the statistics",
            ("attention_without_projections", "key"): "attention scores are sums over these channels",
            ("merge_of_different_axes", "last"): "lie on different axes",
            ("merge_over_a_fixed_axis", "first"): "lie on different axes",
            ("attention_from_statistics_of_channels", "into"): "Mean runs over the channels",
            ("softmax_by_an_operation", "into"): "Softmax runs over the channels",
            ("channel_taken_by_its_number", "into"): "one channel is taken out by its number",
            ("unknown_operations", "into"): "no handler for Triu",
            ("pooling_over_channels", "into"): "MaxPooling2D reads axis 1",
        }
        for (name, layer), reason in expected.items():
            with self.subTest(name=name, layer=layer):
                self.assertIn(reason, self.reasons(topologies.build(name).groups)[layer][2])

    def test_only_some_channels_of_a_layer_are_fixed(self):
        """Of 8 channels the model gives the first 3 away as an output."""
        x = keras.Input((6, 5, 3))
        y = conv(8, "whole")(x)
        groups = groups_of(x, [y[..., :3], conv(2, "after")(y)])
        self.assertEqual(described(groups), {"whole": (5, ("whole",), ("after",), ())})
        self.assertEqual(self.reasons(groups)["whole"][0], 3)
        self.assertIn("output of the model", self.reasons(groups)["whole"][2])


class PrintingTest(tf.test.TestCase):
    def test_groups_and_reasons_print_as_lines(self):
        x = keras.Input((6, 5, 3))
        y = layers.BatchNormalization(name="norm")(conv(5, "first")(x))
        groups = groups_of(x, layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(y)))
        self.assertEqual(
            str(groups).splitlines(),
            [
                "first: 5 channels, written by first, through norm, read by logits",
                "logits: 2 channels stay: output of the model (at logits)",
            ],
        )

    def test_an_unknown_group_is_refused_with_the_known_ones(self):
        groups = topologies.build("conv_chain").groups
        with self.assertRaisesRegex(KeyError, r"'third'.*\['first', 'second'\]"):
            groups["third"]


class OwnHandlerTest(tf.test.TestCase):
    def test_a_handler_of_ones_own_makes_a_layer_prunable(self):
        class Scale(layers.Layer):
            def build(self, input_shape):
                self.scale = self.add_weight(shape=(input_shape[-1],), initializer="random_normal", name="scale")

            def call(self, inputs):
                return inputs * self.scale

        @handles(Scale)
        class ScaleHandler(Handler):
            def flow(self, call):
                return (Labels(call.input_along(-1), call.inputs[0].axis),)

            def weights(self, call, outputs):
                return (WeightAxes(call.layer.scale, carries={0: outputs[0].ids}),)

        x = keras.Input((6, 5, 3))
        model = keras.Model(x, conv(2, "after")(Scale(name="scale")(conv(5, "first")(x))))
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        self.assertEqual(described(groups), {"first": (5, ("first",), ("after",), ("scale",))})
        student = apply(model, Plan.keeping({"first": (1, 4)}))
        scale = model.get_layer("scale").scale
        self.assertAllEqual(student.get_layer("scale").scale, scale.numpy()[[1, 4]])


if __name__ == "__main__":
    tf.test.main()
