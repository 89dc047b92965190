"""AMC's environment: its eleven numbers and its bounds by hand, and that no policy whatever gets past the budget."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress import Budget, Control
from tfcompress.channels import pruning_units
from tfcompress.channels.amc_environment import AMC_STATE_SIZE, AmcEnvironment
from tfcompress.channels.environment import PruningEnvironment
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph


def three_blocks(data_format="channels_last"):
    """Three residual blocks on an image of 6 x 4; all MACs are worked out here.

    stem       24 positions * 9 * 3 * 4                   =  2,592
    block 1    24 * 9 * 4 and 24 * 9 * 4 a channel, 6     = 10,368   (1,728 a channel)
    block 2     6 * 25 * 4 and 6 * 8 a channel, 5         =  3,240   (  648 a channel)
    shortcut    6 * 4 * 8                                 =    192
    block 3     6 * 9 * 8 and 6 * 8 a channel, 7          =  3,360   (  480 a channel)
    head        8 * 2                                     =     16
    """

    def conv(x, filters, size, name, strides=1):
        options = {"use_bias": False, "data_format": data_format, "name": name}
        return layers.Conv2D(filters, size, strides, "same", **options)(x)

    inputs = keras.Input((6, 4, 3) if data_format == "channels_last" else (3, 6, 4))
    x = conv(inputs, 4, 3, "stem")
    x = layers.Add()([x, conv(layers.ReLU()(conv(x, 6, 3, "block1_conv1")), 4, 3, "block1_conv2")])
    y = conv(layers.ReLU()(conv(x, 5, 5, "block2_conv1", strides=2)), 8, 1, "block2_conv2")
    x = layers.Add()([conv(x, 8, 1, "shortcut", strides=2), y])
    x = layers.Add()([x, conv(layers.ReLU()(conv(x, 7, 3, "block3_conv1")), 8, 1, "block3_conv2")])
    x = layers.GlobalAveragePooling2D(data_format=data_format)(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


TOTAL = 2592 + 10368 + 3240 + 192 + 3360 + 16  # 19,768
FIXED = 2592 + 192 + 16
UNIT = (1728, 648, 480)  # a channel


def costs_of(model):
    return CostModel(ChannelGroups.of(LayerGraph.from_keras(model)))


def environment(costs, kind=AmcEnvironment, **limits):
    return kind(costs, pruning_units(costs.groups), Budget(limits))


def play(env, policy):
    """States of an episode, and the rates that were carried out."""
    states, rates = [env.reset()], []
    while not env.done:
        state, rate = env.step(policy(states[-1]))
        states.append(state)
        rates.append(rate)
    return np.stack(states), rates


class AmcEnvironmentTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.costs = costs_of(three_blocks())

    def states_by_hand(self):
        """t, n, c, h, w, stride, k, FLOPs[t], reduced, rest, a: 2 of 6, 2 of 5 and 0 of 7 channels are removed."""
        second, third = 2 * 1728 / TOTAL, (2 * 1728 + 2 * 648) / TOTAL
        return [
            [0, 6 / 8, 4 / 8, 1, 1, 1 / 2, 3 / 5, 10368 / TOTAL, 0, (3240 + 3360) / TOTAL, 0],
            [1 / 3, 5 / 8, 4 / 8, 1, 1, 1, 1, 3240 / TOTAL, second, 3360 / TOTAL, 2 / 6],
            [2 / 3, 7 / 8, 1, 3 / 6, 2 / 4, 1 / 2, 3 / 5, 3360 / TOTAL, third, 0, 2 / 5],
            [0] * AMC_STATE_SIZE,
        ]

    def test_the_eleven_numbers_of_the_state(self):
        self.assertEqual(self.costs.total.macs, TOTAL)
        rates = iter((0.34, 0.4, 0.1))
        states, carried_out = play(environment(self.costs), lambda _: next(rates))
        self.assertEqual((states.shape, states.dtype), ((4, AMC_STATE_SIZE), np.float32))
        self.assertAllClose(carried_out, [2 / 6, 2 / 5, 0])
        self.assertAllClose(states, self.states_by_hand(), rtol=1e-6)
        self.assertAllInRange(states, 0.0, 1.0)

    def test_height_and_width_are_no_channels_where_these_come_first(self):
        rates = iter((0.34, 0.4, 0.1))
        states, _ = play(environment(costs_of(three_blocks("channels_first"))), lambda _: next(rates))
        self.assertAllClose(states, self.states_by_hand(), rtol=1e-6)

    def test_what_has_no_height_and_width(self):
        inputs = keras.Input((5,))
        x = layers.Dense(3)(layers.Dense(4, "relu")(layers.Dense(6, "relu")(inputs)))
        states, _ = play(environment(costs_of(keras.Model(inputs, x))), lambda _: 0.5)
        self.assertAllClose(states[:-1, 3:7], np.ones((2, 4)))

    def test_without_a_budget_every_rate_is_carried_out(self):
        env = environment(self.costs)
        _, rates = play(env, lambda _: 1.0)
        self.assertAllClose(rates, [5 / 6, 4 / 5, 6 / 7])
        self.assertEqual(self.costs.of_kept(env.kept).macs, FIXED + sum(UNIT))
        self.assertEqual(play(env, lambda _: 0.0)[1], [0.0, 0.0, 0.0])

    def test_a_rate_is_raised_where_the_budget_asks_for_it_and_never_lowered(self):
        """Half of 19,768 leaves 9,884 - 2,800 = 7,084 for the blocks."""
        env = environment(self.costs, macs=9884)
        env.reset()
        self.assertEqual(env.bounds(), (1, 3))  # (7,084 - 648 - 480) / 1,728 = 3.4
        env.step(0.0)
        self.assertEqual(env.bounds(), (1, 2))  # (7,084 - 3 * 1,728 - 480) / 648 = 2.2
        env.step(1.0)
        self.assertEqual(env.bounds(), (1, 2))  # (7,084 - 5,184 - 648) / 480 = 2.6
        env.step(0.0)
        self.assertEqual(self.costs.of_kept(env.kept).macs, FIXED + 3 * 1728 + 648 + 2 * 480)
        # RLAL's environment would not let the blocks go down to a channel each.
        policy = [play(environment(self.costs, kind, macs=9884), lambda _: 1.0)[1] for kind in _KINDS]
        self.assertAllClose(policy[0], [5 / 6, 4 / 5, 6 / 7])
        self.assertLess(policy[1][2], 6 / 7)

    def test_no_policy_gets_past_the_budget(self):
        rng = np.random.default_rng(0)
        chain = keras.Sequential([keras.Input((8, 8, 1)), *(layers.Conv2D(w, 3) for w in (6, 9, 5)), layers.Flatten()])
        chain = keras.Sequential([*chain.layers, layers.Dense(3)])
        chain.build((None, 8, 8, 1))
        for costs in (self.costs, costs_of(chain)):
            units = pruning_units(costs.groups)
            least = environment(costs)
            play(least, lambda _: 1.0)
            smallest = costs.of_kept(least.kept)
            for share in (0.0, 0.3, 0.9):
                limits = {m: int(smallest[m] + share * (costs.total[m] - smallest[m])) for m in ("macs", "params")}
                env = AmcEnvironment(costs, units, Budget(limits))
                for policy in (lambda _: 0.0, lambda _: 1.0, *[lambda _: rng.random()] * 5):
                    play(env, policy)
                    spent = costs.of_kept(env.kept)
                    self.assertTrue(all(spent[metric] <= limit for metric, limit in limits.items()))

    def test_widths_that_may_not_be_left_are_not_left(self):
        control = Control.of(ratio_limits={"block1_conv1": 0.5})
        widths = control.widths(self.costs.groups)
        env = AmcEnvironment(self.costs, pruning_units(self.costs.groups), Budget(), widths)
        self.assertAllClose(play(env, lambda _: 1.0)[1], [3 / 6, 4 / 5, 6 / 7])


_KINDS = (AmcEnvironment, PruningEnvironment)


if __name__ == "__main__":
    tf.test.main()
