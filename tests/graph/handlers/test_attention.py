import pytest
from handled import handled
from keras import layers

# 11 positions of 6 channels ask 7 positions of 5: labels 0 to 5 and 6 to 10.
QUERY, VALUE = [*range(6)], [*range(6, 11)]


def attention(**options):
    return handled(layers.MultiHeadAttention(2, 3, 5, **options), (11, 6), (7, 5))


def test_multi_head_attention():
    """Inside: 2 heads, 3 key channels, 5 value channels; then the outputs, as many as the query has channels."""
    call = attention()
    heads, key, value = [11, 12], [13, 14, 15], [16, 17, 18, 19, 20]
    ((axis, out),) = call.labels
    assert (axis, len(out)) == (2, 6)
    assert call.fixed == key  # scores are divided by the square root of their number
    weights = call.weights
    assert weights["query/kernel"] == {"reads": {0: QUERY, 2: key}, "writes": {1: heads}}
    assert weights["key/kernel"] == {"reads": {0: VALUE}, "writes": {1: heads, 2: key}}
    assert weights["value/kernel"] == {"reads": {0: VALUE}, "writes": {1: heads, 2: value}}
    assert weights["value/bias"] == {"writes": {0: heads, 1: value}}
    assert weights["attention_output/kernel"] == {"reads": {0: heads, 1: value}, "writes": {2: out}}
    assert weights["attention_output/bias"] == {"writes": {0: out}}


def test_multiply_adds_of_attention():
    projections = [(11, 6, 2, 3), (7, 5, 2, 3), (7, 5, 2, 5)]
    assert attention().macs == [*projections, (77, 2, 3), (77, 2, 5), (11, 2, 5, 6)]


def test_config_of_attention():
    call = attention()
    out = call.labels[0][1]
    widths = {"num_heads": 1, "key_dim": 3, "value_dim": 4}
    assert call.config(12, 20) == {**widths, "output_shape": None}
    assert call.config(12, 20, out[0]) == {**widths, "output_shape": (5,)}


def test_keys_may_go_where_statistics_may_change():
    call = handled(layers.MultiHeadAttention(2, 3), (11, 6), (7, 5), through_norms=True)
    assert call.fixed == []
    assert call.config(13)["key_dim"] == 2


def test_scores_that_are_returned_have_heads_for_channels():
    call = handled(lambda q, v: layers.MultiHeadAttention(2, 3)(q, v, return_attention_scores=True), (11, 6), (7, 5))
    assert call.labels[1] == (1, [11, 12])


def test_grouped_query_attention():
    """4 heads of queries, 2 of keys and values: a head of these goes with two of those. One width for all."""
    call = handled(layers.GroupQueryAttention(3, 4, 2), (11, 6), (7, 6))
    width, shared = [12, 13, 14], [15, 16]
    assert call.fixed == width
    kernels = {name: kinds for name, kinds in call.weights.items() if name.endswith("kernel")}
    query, key = list(kernels.values())[:2]
    assert query["writes"] == {1: [15, 15, 16, 16]}
    assert key["writes"] == {1: shared, 2: width}
    assert call.config(15) == {"num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 3}
    out = call.labels[0][1]
    assert call.ties == [[q, q + 6, o] for q, o in zip(range(6), out, strict=True)]
    assert call.macs[0] == (11, 6, 4, 3)
    assert call.macs[1] == (7, 6, 2, 3)


@pytest.mark.parametrize("layer", [layers.Attention, layers.AdditiveAttention])
def test_scores_of_channels(layer):
    """11 positions ask 7: the channels of both are in the scores; those of separate keys stay, and the values' go."""
    both = handled(lambda q, v: layer()([q, v]), (11, 3), (7, 3))
    assert both.fixed == [0, 1, 2, 3, 4, 5]
    keys = handled(lambda q, v, k: layer()([q, v, k]), (11, 3), (7, 5), (7, 3))
    assert keys.labels == [(2, [3, 4, 5, 6, 7])]
    assert keys.fixed == [0, 1, 2, 8, 9, 10]
    assert keys.macs == [(77, 3), (77, 5)]


def test_the_scale_of_additive_attention():
    assert list(handled(lambda q, v: layers.AdditiveAttention()([q, v]), (11, 3), (7, 3)).weights.values()) == [
        {"reads": {0: [3, 4, 5]}}
    ]
