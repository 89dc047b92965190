import pytest
from handled import handled
from keras import layers


def test_batch_normalization():
    norm = handled(layers.BatchNormalization(momentum=0.75), (5, 3))
    assert norm.labels == [(2, [0, 1, 2])]
    carried = {"carries": {0: [0, 1, 2]}}
    assert norm.weights == dict.fromkeys(["gamma", "beta", "moving_mean", "moving_variance"], carried)
    said = [(w.is_parameter, w.momentum) for w in norm.handler.weights(norm.call, norm.outputs)]
    assert said == [(True, None), (True, None), (False, 0.75), (False, 0.75)]
    assert (norm.macs, norm.fixed, norm.config(1)) == ([], [], {})


def test_batch_normalization_without_scale_and_offset():
    norm = handled(layers.BatchNormalization(scale=False, center=False), (5, 3))
    assert list(norm.weights) == ["moving_mean", "moving_variance"]


def test_batch_normalization_of_another_axis():
    assert handled(layers.BatchNormalization(axis=1), (5, 3)).fixed == [0, 1, 2, 3, 4, 5, 6, 7]
    passed = handled(layers.BatchNormalization(axis=1), (5, 3), through_norms=True)
    assert passed.fixed == []
    assert passed.weights["gamma"] == {}


@pytest.mark.parametrize(
    ("layer", "weights"),
    [
        (layers.LayerNormalization, ["gamma", "beta"]),
        (layers.RMSNormalization, ["scale"]),
        (layers.UnitNormalization, []),
    ],
)
def test_statistics_over_the_channels(layer, weights):
    norm = handled(layer(), (5, 3))
    assert (norm.labels, norm.fixed) == ([(2, [0, 1, 2])], [0, 1, 2])
    through = handled(layer(), (5, 3), through_norms=True)
    assert (through.labels, through.fixed, through.ties) == ([(2, [0, 1, 2])], [], [])
    assert through.weights == {name: {"carries": {0: [0, 1, 2]}} for name in weights}


def test_statistics_over_other_axes_than_the_channels():
    norm = handled(layers.LayerNormalization(axis=1), (5, 3))
    assert norm.fixed == []
    assert norm.weights == {"gamma": {}, "beta": {}}


def test_statistics_over_two_axes():
    norm = handled(layers.LayerNormalization(axis=(1, 2)), (5, 3), through_norms=True)
    assert norm.weights["gamma"] == {"carries": {1: [0, 1, 2]}}


def test_groups_of_several_channels():
    """6 channels in 2 groups: the first ones of both go together, and so on; as many groups as before."""
    assert handled(layers.GroupNormalization(2), (5, 6)).fixed == [0, 1, 2, 3, 4, 5]
    norm = handled(layers.GroupNormalization(2), (5, 6), through_norms=True)
    assert (norm.fixed, norm.ties) == ([], [[0, 3], [1, 4], [2, 5]])
    assert norm.config(0, 3) == {"groups": 2}


def test_groups_of_one_channel():
    norm = handled(layers.GroupNormalization(-1), (5, 3))
    assert (norm.fixed, norm.ties) == ([], [])
    assert norm.weights["gamma"] == {"carries": {0: [0, 1, 2]}}
    assert norm.config(1) == {"groups": 2}


def test_statistics_of_the_data():
    norm = handled(layers.Normalization(), (5, 3))
    assert norm.fixed == [0, 1, 2]
    assert not any(w.is_parameter for w in norm.handler.weights(norm.call, norm.outputs))
