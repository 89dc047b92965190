"""The pruning environment: its bounds and states by hand, and that no policy whatever gets past the budget."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress import Budget, zoo
from tfcompress.channels import pruning_units
from tfcompress.channels.environment import STATE_SIZE, PruningEnvironment
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph


def conv(x, filters, kernel_size, name, strides=1):
    return layers.Conv2D(filters, kernel_size, strides, "same", use_bias=False, name=name)(x)


def three_blocks():
    """Three residual blocks whose FLOPs do not depend on one another; all MACs are worked out here.

    stem       36 positions * 9 * 3 * 4                       =  3,888
    block 1    36 * 9 * 4 and 36 * 9 * 4 a channel, 6 of them = 15,552   (2,592 a channel)
    block 2     9 * 9 * 4 and  9 * 9 * 8 a channel, 5 of them =  4,860   (  972 a channel)
    shortcut    9 * 4 * 8                                     =    288
    block 3     9 * 25 * 8 and 9 * 8 a channel, 7 of them     = 13,104   (1,872 a channel)
    head       8 * 2                                          =     16
    """
    inputs = keras.Input((6, 6, 3))
    x = layers.ReLU()(conv(inputs, 4, 3, "stem"))
    y = layers.ReLU()(layers.BatchNormalization()(conv(x, 6, 3, "block1_conv1")))
    x = layers.ReLU()(layers.Add()([x, conv(y, 4, 3, "block1_conv2")]))
    y = layers.ReLU()(layers.BatchNormalization()(conv(x, 5, 3, "block2_conv1", strides=2)))
    x = layers.Add()([conv(x, 8, 1, "shortcut", strides=2), conv(y, 8, 3, "block2_conv2")])
    x = layers.ReLU()(x)
    y = layers.ReLU()(conv(x, 7, 5, "block3_conv1"))
    x = layers.Add()([x, conv(y, 8, 1, "block3_conv2")])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


TOTAL = 3888 + 15552 + 4860 + 288 + 13104 + 16  # 37,708
FIXED = 3888 + 288 + 16  # what no action can prune
UNIT = (2592, 972, 1872)  # a channel
WHOLE = (15552, 4860, 13104)


def vgg_like(widths=(8, 12, 10, 16), units=24):
    """No blocks, and every group's cost depends on its neighbours'; biases, and a Dense layer that reads a Flatten."""
    inputs = x = keras.Input((8, 8, 1))
    for number, width in enumerate(widths, start=1):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        if number % 2 == 0:
            x = layers.MaxPooling2D()(x)
    x = layers.Dense(units, activation="relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, name="classifier")(x))


def bottleneck(x, narrow, wide, name):
    y = layers.ReLU()(conv(x, narrow, 1, f"{name}_conv1"))
    y = layers.ReLU()(conv(y, wide, 3, f"{name}_conv2"))
    return layers.Add()([x, conv(y, x.shape[-1], 1, f"{name}_conv3")])


def two_bottlenecks():
    """Units of two groups each, of different sizes, whose cost is not linear in the rate."""
    inputs = keras.Input((6, 6, 3))
    x = bottleneck(conv(inputs, 8, 3, "stem"), 6, 9, "block1")
    x = layers.GlobalAveragePooling2D()(bottleneck(x, 4, 10, "block2"))
    return keras.Model(inputs, layers.Dense(2)(x))


def costs_of(model):
    return CostModel(ChannelGroups.of(LayerGraph.from_keras(model)))


def environment(costs, **limits):
    return PruningEnvironment(costs, pruning_units(costs.groups), Budget(limits))


def play(env, policy):
    """Widths at the end of an episode, and the rates that were carried out."""
    state, rates = env.reset(), []
    while not env.done:
        state, rate = env.step(policy(state))
        rates.append(rate)
    return env.kept, rates


class ThreeBlocksTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.costs = costs_of(three_blocks())

    def test_the_numbers_of_the_docstring(self):
        self.assertEqual(self.costs.total.macs, TOTAL)
        self.assertEqual(TOTAL, 37708)
        self.assertEqual(
            [unit.name for unit in pruning_units(self.costs.groups)], [f"block{i}_conv1" for i in (1, 2, 3)]
        )
        for name, a_channel in zip(("block1_conv1", "block2_conv1", "block3_conv1"), UNIT, strict=True):
            one_less = self.costs.sizes - [group == name for group in self.costs.groups.groups]
            self.assertEqual(self.costs.of_kept(one_less).macs, TOTAL - a_channel)

    def test_lower_bound_of_the_rate(self):
        """Equation (12), where later blocks keep their smallest width, one channel.

        Half of 37,708 leaves 18,854 - 4,192 = 14,662 for the blocks.
        """
        env = environment(self.costs, macs=18854)
        env.reset()
        # (14,662 - 972 - 1,872) / 2,592 = 4.56 channels; whole later blocks exceed the budget, so one channel may do.
        self.assertEqual(env.bounds(), (1, 4))
        env.step(4 / 6)  # keeps 2
        # (14,662 - 2 * 2,592 - 1,872) / 972 = 7.8: all 5
        self.assertEqual(env.bounds(), (1, 5))
        env.step(0.0)
        # (14,662 - 5,184 - 4,860) / 1,872 = 2.47, and nothing comes later
        self.assertEqual(env.bounds(), (2, 2))

    def test_upper_bound_of_the_rate(self):
        """Equation (13): whole later blocks must still be able to use the budget up. 90% leave 33,937 - 4,192 = 29,745."""
        env = environment(self.costs, macs=33937)
        env.reset()
        # (29,745 - 4,860 - 13,104) / 2,592 = 4.545: with 4 channels the budget is out of reach
        self.assertEqual(env.bounds(), (5, 6))
        self.assertAllClose(env.step(1.0)[1], 1 / 6)
        # (29,745 - 5 * 2,592 - 13,104) / 972 = 3.79
        self.assertEqual(env.bounds(), (4, 5))
        self.assertAllClose(env.step(1.0)[1], 1 / 5)
        # (29,745 - 12,960 - 3,888) / 1,872 = 6.89
        self.assertEqual(env.bounds(), (6, 6))
        self.assertAllClose(env.step(1.0)[1], 1 / 7)
        self.assertEqual(self.costs.of_kept(env.kept).macs, FIXED + 5 * 2592 + 4 * 972 + 6 * 1872)

    def test_bounds_are_the_equations_for_any_budget_and_policy(self):
        """Against Equations (12) and (13), in whole channels, written down for independent blocks."""
        rng = np.random.default_rng(0)
        sizes = (6, 5, 7)
        for desired in rng.integers(FIXED + sum(UNIT), TOTAL, 40).tolist():
            env = environment(self.costs, macs=desired)
            env.reset()
            spent = FIXED
            for at, size in enumerate(sizes):
                smallest_later, whole_later = sum(UNIT[at + 1 :]), sum(WHOLE[at + 1 :])
                most = min(size, (desired - spent - smallest_later) // UNIT[at])
                least = min(most, max(1, -((spent + whole_later - desired) // UNIT[at])))
                self.assertEqual(env.bounds(), (least, most))
                _, rate = env.step(rng.random())
                spent += round(size * (1 - rate)) * UNIT[at]

    def test_the_nine_numbers_of_the_state(self):
        """Equation (1), the parts scaled to [0, 1] by L, the widest layer, the whole model's FLOPs; stride and kernel by
        the largest among the blocks."""
        env = environment(self.costs, macs=33937)
        first = env.reset()
        self.assertEqual(first.dtype, np.float32)
        self.assertAllClose(
            first, [0, 4 / 8, 6 / 8, 1 / 2, 3 / 5, 15552 / TOTAL, 0, (4860 + 13104) / TOTAL, 0], rtol=1e-6
        )
        second, _ = env.step(1.0)  # 5 of 6 channels stay
        self.assertAllClose(
            second, [1 / 3, 4 / 8, 5 / 8, 1, 3 / 5, 4860 / TOTAL, 5 * 2592 / TOTAL, 13104 / TOTAL, 1 / 6], rtol=1e-6
        )
        third, _ = env.step(0.0)
        before = (5 * 2592 + 4860) / TOTAL
        self.assertAllClose(third, [2 / 3, 1, 7 / 8, 1 / 2, 1, 13104 / TOTAL, before, 0, 0], rtol=1e-6)
        last, _ = env.step(0.0)
        self.assertAllEqual(last, np.zeros(STATE_SIZE))
        self.assertTrue(env.done)

    def test_reset_begins_anew(self):
        env = environment(self.costs, macs=18854)
        first = env.reset()
        widths, rates = play(env, lambda _: 0.6)
        self.assertAllEqual(env.reset(), first)
        self.assertAllEqual(env.kept, self.costs.sizes)
        again = play(env, lambda _: 0.6)
        self.assertAllEqual(again[0], widths)
        self.assertEqual(again[1], rates)

    def test_a_rate_within_the_bounds_removes_the_floor_of_its_share(self):
        env = environment(self.costs, macs=18854)
        for rate, kept in ((0.34, 4), (0.49, 4), (0.5, 3), (0.66, 3), (0.67, 2), (0.83, 2), (0.84, 1), (1.0, 1)):
            env.reset()
            _, carried_out = env.step(rate)
            self.assertAllClose(carried_out, 1 - kept / 6)
            self.assertEqual(env.kept[1], kept)
            self.assertAllClose(env.state()[-1], carried_out)

    def test_a_rate_outside_of_zero_and_one_is_brought_inside(self):
        env = environment(self.costs, macs=TOTAL - 1)
        for rate, at_bound in ((-3.0, 0.0), (7.0, 1.0)):
            self.assertEqual(play(env, lambda _, rate=rate: rate)[1], play(env, lambda _, rate=at_bound: rate)[1])

    def test_the_action_returned_is_the_one_carried_out(self):
        rng = np.random.default_rng(1)
        for limit in (12000, 18854, 30000):
            env = environment(self.costs, macs=limit)
            for _ in range(20):
                kept, rates = play(env, lambda _: rng.random())
                inner = [name.startswith("block") and name.endswith("conv1") for name in self.costs.groups.groups]
                self.assertAllClose(rates, 1 - (kept / self.costs.sizes)[inner])
                replayed = iter(rates)
                self.assertAllEqual(play(env, lambda _: next(replayed))[0], kept)  # noqa: B023

    def test_the_whole_model_within_a_budget_of_one(self):
        env = environment(self.costs, macs=TOTAL)
        kept, rates = play(env, lambda _: 1.0)
        self.assertAllEqual(kept, self.costs.sizes)
        self.assertEqual(rates, [0.0, 0.0, 0.0])

    def test_a_budget_that_blocks_alone_cannot_reach_is_refused(self):
        least = FIXED + sum(UNIT)  # 9,628 of 37,708 are 0.25533
        self.assertLess(self.costs.smallest.macs, least)
        with self.assertRaisesRegex(
            ValueError, r"at least 0\.2554 .*19,256 of 75,416 FLOPs.*Received: flops_budget=0\.2553.*inside blocks"
        ):
            PruningEnvironment(self.costs, pruning_units(self.costs.groups), Budget(flops=0.2553))
        kept, _ = play(environment(self.costs, macs=least), lambda _: 0.0)
        self.assertEqual(self.costs.of_kept(kept).macs, least)

    def test_nothing_to_prune_is_refused(self):
        with self.assertRaisesRegex(ValueError, "Expected a model with prunable channels. Received"):
            PruningEnvironment(self.costs, (), Budget({"macs": TOTAL}))


def reached(costs, units):
    """The lowest cost that pruning inside the units can reach."""
    kept = costs.sizes.copy()
    index = {name: i for i, name in enumerate(costs.groups.groups)}
    for unit in units:
        for group in unit.groups:
            kept[index[group.name]] = 1
    return costs.of_kept(kept)


POLICIES = {
    "always 0": lambda seed: lambda state: 0.0,
    "always 1": lambda seed: lambda state: 1.0,
    "noise": lambda seed: (lambda rng: lambda state: rng.random())(np.random.default_rng(seed)),
    "0 or 1": lambda seed: (lambda rng: lambda state: float(rng.integers(2)))(np.random.default_rng(seed)),
}


class AnyPolicyTest(tf.test.TestCase):
    """Never above the budget, and below it by less than one channel of the last unit, whatever the policy does."""

    def check(self, model, shares=(0.0, 0.2, 0.5, 0.8, 1.0), budgets=("macs", "params", "both"), noises=2):
        costs = costs_of(model)
        units = pruning_units(costs.groups)
        index = {name: i for i, name in enumerate(costs.groups.groups)}
        last = [index[group.name] for group in units[-1].groups]
        least, total = reached(costs, units), costs.total
        for share in shares:
            every = {
                m: int(getattr(least, m) + share * (getattr(total, m) - getattr(least, m))) for m in ("macs", "params")
            }
            for budget in budgets:
                limits = every if budget == "both" else {budget: every[budget]}
                env = PruningEnvironment(costs, units, Budget(limits))
                for name, make in POLICIES.items():
                    for seed in range(noises if name == "noise" else 1):
                        kept, rates = play(env, make(seed))
                        said = f"{model.name}: {limits}, {name}, seed {seed}: {kept}"
                        self.assertAllInRange(rates, 0.0, 1.0)
                        self.assertAllInRange(kept, 1, costs.sizes.max())
                        self.assertWithin(costs, kept, limits, last, units[-1].size, said)

    def assertWithin(self, costs, kept, limits, last, size, said):
        spent = costs.of_kept(kept)
        for metric, limit in limits.items():
            self.assertLessEqual(getattr(spent, metric), limit, said)
        if any(getattr(spent, metric) == limit for metric, limit in limits.items()):
            return  # not below at all
        width = kept[last].max()
        self.assertLess(width, size, f"{said}: the last unit is whole, and the budget not used up")
        one_more = kept.copy()
        one_more[last] = np.ceil(costs.sizes[last] * (width + 1) / size - 1e-9)
        exceeds = [getattr(costs.of_kept(one_more), metric) > limit for metric, limit in limits.items()]
        self.assertTrue(any(exceeds), f"{said}: one more channel of the last unit would fit")

    def test_resnet20(self):
        self.check(zoo.resnet20((8, 8, 1), 10))

    def test_resnet56(self):
        self.check(zoo.resnet56((32, 32, 3), 10), shares=(0.3, 0.5), noises=1)

    def test_mobilenet_v2(self):
        self.check(zoo.mobilenet_v2((32, 32, 3), 10), shares=(0.2, 0.5), noises=1)

    def test_vgg_like(self):
        self.check(vgg_like())

    def test_bottlenecks(self):
        self.check(two_bottlenecks())

    def test_three_blocks(self):
        self.check(three_blocks(), shares=np.linspace(0, 1, 21), noises=4)

    def test_two_groups_of_a_bottleneck_lose_the_same_share(self):
        costs = costs_of(two_bottlenecks())
        env = environment(costs, macs=costs.total.macs * 6 // 10)
        env.reset()
        env.step(5 / 9)  # 4 of 9 stay, and of 6 channels 6 * 4 / 9 = 2.67, rounded up
        kept = dict(zip(costs.groups.groups, env.kept.tolist(), strict=True))
        self.assertEqual((kept["block1_conv1"], kept["block1_conv2"]), (3, 4))
        self.assertEqual((kept["block2_conv1"], kept["block2_conv2"]), (4, 10))

    def test_where_a_channel_costs_more_than_all_that_comes_later_the_rest_stays_whole(self):
        """Then no plan is within a channel of the last unit; the nearest one below the budget is taken."""
        inputs = keras.Input((6, 6, 3))
        x = conv(inputs, 8, 3, "stem")
        x = layers.Add()([x, conv(layers.ReLU()(conv(x, 4, 5, "wide")), 8, 5, "wide_out")])  # 14,400 a channel
        x = layers.AveragePooling2D(6)(x)
        x = layers.Add()([x, conv(layers.ReLU()(conv(x, 6, 1, "thin")), 8, 1, "thin_out")])  # 16 a channel
        costs = costs_of(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
        limit = costs.total.macs - 14400 - 5000
        for rate in (0.0, 1.0):
            kept, _ = play(environment(costs, macs=limit), lambda _, rate=rate: rate)
            self.assertEqual(costs.total.macs - costs.of_kept(kept).macs, 2 * 14400)
