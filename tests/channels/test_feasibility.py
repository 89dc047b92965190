"""The lowest cost that pruning can reach: of all groups, and inside blocks alone; worked out by hand."""

import keras
import numpy as np
from keras import layers

from tfcompress.channels import Control, pruning_units
from tfcompress.channels.feasibility import inside_units, reachable, reachable_inside
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph


def costs_of_a_block():
    """A stem of 5 channels, a block with 7 inside, a head of 3; 4 x 4 places of 2 channels."""
    x = keras.Input((4, 4, 2))
    stem = layers.Conv2D(5, 3, padding="same", use_bias=False, name="stem")(x)
    y = layers.Conv2D(7, 3, padding="same", use_bias=False, name="inner")(stem)
    y = layers.Add()([stem, layers.Conv2D(5, 3, padding="same", use_bias=False, name="outer")(y)])
    y = layers.Dense(3, use_bias=False, name="head")(layers.GlobalAveragePooling2D()(y))
    return CostModel(ChannelGroups.of(LayerGraph.from_keras(keras.Model(x, y))))


def macs(stem, inner):
    return 16 * 9 * (2 * stem + stem * inner + inner * stem) + 3 * stem


def test_all_groups_or_those_inside_blocks():
    costs = costs_of_a_block()
    assert costs.total.macs == macs(5, 7)
    for control, least, inside in (
        (Control(), (1, 1), (5, 1)),
        (Control(ratio_limits={"stem": 0.6, "inner": 0.6}), (2, 3), (5, 3)),  # two of 5 stay, 2.8 of 7
        (Control(exclude=("inner",)), (1, 7), (5, 7)),
        (Control(round_to=2), (2, 2), (5, 2)),
    ):
        widths = control.widths(costs.groups)
        assert reachable(costs, widths).macs == macs(*least)
        assert reachable_inside(costs, widths).macs == macs(*inside)


def test_between_blocks_groups_have_their_greatest_width():
    """Also where the user asks that some of their channels go."""
    costs = costs_of_a_block()
    control = Control(ratio_limits={"stem": (0.4, 0.8)})  # from one to three of 5 stay
    assert reachable_inside(costs, control.widths(costs.groups)).macs == macs(3, 1)
    assert reachable(costs, control.widths(costs.groups)).macs == macs(1, 1)


def test_only_groups_of_units_have_a_choice():
    costs = costs_of_a_block()
    inside = inside_units(Control().widths(costs.groups), costs.groups, pruning_units(costs.groups))
    names = list(costs.groups.groups)
    assert sorted(names) == ["inner", "stem"]
    np.testing.assert_array_equal(inside.least[names.index("inner")], 1)
    np.testing.assert_array_equal(inside.least[names.index("stem")], 5)
    none = inside_units(Control().widths(costs.groups), costs.groups, ())
    assert reachable(costs, none) == costs.total
