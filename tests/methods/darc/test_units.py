"""Units: which parts of a network are replaced, and what their alternatives cost."""

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

from tfcompress import cost
from tfcompress.methods.darc.units import ORIGINAL, find_units, piece
from tfcompress.network import Network
from tfcompress.replacements import Replacement, by_name
from tfcompress.rewrite import apply

PAPER = ("3x3DS", "1x1FC", "3x3+1x1")


def units_of(model, replacements=PAPER, unit="layer", free=None):
    costs = Network(model).costs
    chosen = [by_name(name) for name in replacements]
    return find_units(costs, chosen, unit, set(costs.groups.layers) if free is None else free)


def bottleneck():
    """Two residual blocks of three convolutions each, the first with a strided shortcut; a stem."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    for number, strides in ((1, 2), (2, 1)):
        y = layers.Conv2D(4, 1, strides, name=f"b{number}_1")(x)
        y = layers.Conv2D(4, 3, padding="same", name=f"b{number}_2")(layers.ReLU(name=f"b{number}_r1")(y))
        y = layers.Conv2D(8, 1, name=f"b{number}_3")(layers.ReLU(name=f"b{number}_r2")(y))
        y = layers.BatchNormalization(name=f"b{number}_bn")(y)
        shortcut = layers.Conv2D(8, 1, 2, name="shortcut")(x) if strides == 2 else x
        x = layers.Add(name=f"b{number}_add")([y, shortcut])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


class UnitsTest(tf.test.TestCase):
    def test_convolutions_are_units_with_what_they_cost(self):
        units = {unit.name: unit for unit in units_of(small_tasks.residual_network())}
        self.assertEqual(list(units), ["stem", "block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"])
        # 6 -> 5 channels at 4x4, kernel 3x3, no bias.
        unit = units["block1_conv1"]
        self.assertEqual(unit.alternatives, (ORIGINAL, "1x1FC", "3x3+1x1"))  # 5 and 6 have no common divisor
        macs = {name: each.macs for name, each in unit.costs.items()}
        params = {name: each.params for name, each in unit.costs.items()}
        self.assertEqual(macs, {ORIGINAL: 16 * 9 * 30, "1x1FC": 16 * 30, "3x3+1x1": 16 * (9 * 6 + 30)})
        self.assertEqual(params, {ORIGINAL: 9 * 30, "1x1FC": 30, "3x3+1x1": 9 * 6 + 30})

    def test_pointwise_convolutions_have_nothing_cheaper(self):
        self.assertNotIn("shortcut", {unit.name for unit in units_of(bottleneck(), ("1x1FC", "3x3+1x1"))})

    def test_a_bottleneck_is_one_unit(self):
        model = bottleneck()
        units = {unit.name: unit for unit in units_of(model, unit="bottleneck")}
        self.assertEqual(units["b1_1"].part.nodes, ("b1_1", "b1_r1", "b1_2", "b1_r2", "b1_3"))
        self.assertEqual(units["b2_1"].part.nodes, ("b2_1", "b2_r1", "b2_2", "b2_r2", "b2_3"))
        self.assertEqual(units["b1_1"].part.strides, (2, 2))
        self.assertIn("stem", units)
        self.assertNotIn("b1_2", units)
        # The region by itself costs what it costs in the network: 4x4 places of 8*4, 9*4*4 and 4*8 each.
        self.assertEqual(units["b1_1"].costs[ORIGINAL].macs, 16 * (32 + 144 + 32))

    def test_a_region_by_itself_computes_what_it_does_in_the_network(self):
        model = bottleneck()
        (unit,) = units_of(model, unit=(("b1_1", "b1_r1", "b1_2", "b1_r2", "b1_3"),))
        region = piece(unit, ORIGINAL, model)
        x = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype("float32")
        ends = keras.Model(model.get_layer("stem").output, model.get_layer("b1_3").output)
        self.assertAllClose(region(x), ends(x), atol=1e-6)

    def test_layers_that_are_named_or_left_out(self):
        model = small_tasks.residual_network()
        self.assertEqual([u.name for u in units_of(model, unit=("block2_conv1",))], ["block2_conv1"])
        self.assertEqual([u.name for u in units_of(model, free={"stem"})], ["stem"])
        with self.assertRaisesRegex(ValueError, r"Expected `unit` to name layers of 'small'. Received: \['conv9'\]"):
            units_of(model, unit=("conv9",))
        with self.assertRaisesRegex(ValueError, "Expected nodes of one region"):
            units_of(model, unit=(("stem", "block2_conv1"),))

    def test_layers_called_twice_or_with_functions_of_the_user_stay(self):
        inputs = keras.Input((8, 8, 4))
        shared = layers.Conv2D(4, 3, padding="same", name="shared")
        x = shared(shared(inputs))
        x = layers.Conv2D(4, 3, padding="same", activation=lambda t: t * 2, name="own")(x)
        x = layers.Conv2D(4, 3, padding="same", name="plain")(x)
        self.assertEqual([u.name for u in units_of(keras.Model(inputs, x))], ["plain"])

    def test_layers_of_ones_own_without_names_are_known_again(self):
        class Two(Replacement):
            name = "two"

            def layers(self, part):
                return [layers.Conv2D(2, 1, part.strides, use_bias=False), layers.Conv2D(part.channels_out, 1)]

        model = small_tasks.residual_network()
        (unit,) = find_units(Network(model).costs, [Two()], ("block1_conv1",), set(Network(model).groups.layers))
        for _ in range(2):
            self.assertEqual([layer.name for layer in unit.layers("two", model)], ["conv2d", "conv2d_1"])

    def test_costs_of_alternatives_are_those_in_the_network(self):
        """By building the network with one replacement and counting."""
        from tfcompress.methods.darc.relaxation import plan_of

        model = small_tasks.residual_network(inner=(6, 12))
        units = units_of(model)
        whole = cost(model)
        for unit in units:
            for name in unit.replacements:
                choice = {other.name: ORIGINAL for other in units} | {unit.name: name}
                counted = cost(apply(model, plan_of(Network(model), units, choice)))
                for metric in ("macs", "params", "bytes"):
                    expected = whole[metric] + unit.costs[name][metric] - unit.costs[ORIGINAL][metric]
                    self.assertEqual(counted[metric], expected, (unit.name, name, metric))


if __name__ == "__main__":
    tf.test.main()
