"""Attention of every kind, and the blocks of encoders and decoders around it."""

import keras
from keras import layers, ops

from topologies.chains import image
from topologies.registry import topology
from topologies.sequences import steps, words


def attention(queries, values, read, written, key, value=1, heads=1, value_heads=None, gate=0):
    """Multiply-adds of attention.

    Args:
        queries, values: numbers of positions.
        read: channels of queries, keys and values.
        written: channels of the output.
        key, value: widths of a head.
        heads, value_heads: heads of queries, and of keys and values where they are fewer.
        gate: 1 with a gate.
    """
    query_in, key_in, value_in = read
    projections = heads * queries * query_in * (key + gate * value)
    projections += (value_heads or heads) * values * (key_in * key + value_in * value)
    return projections + heads * queries * (values * (key + value) + value * written)


@topology(smallest=2 * (attention(6, 6, (8, 8, 8), 8, key=3) + 6 * 8 * 2) + 8 * 3)
def bert_like_encoder():
    # Normalised after each sum: the stream of 8 stays, heads and what is inside the MLPs does not.
    x = words()
    positions = ops.cumsum(ops.ones_like(x), axis=-1) - 1
    y = layers.Add()([layers.Embedding(7, 8, name="words")(x), layers.Embedding(6, 8, name="places")(positions)])
    y = layers.LayerNormalization(epsilon=1e-6)(y)
    for name in ("first", "second"):
        z = layers.MultiHeadAttention(2, 3, name=f"{name}_attention")(y, y)
        y = layers.LayerNormalization()(layers.Add()([y, layers.Dropout(0.1)(z)]))
        z = layers.Dense(8)(layers.Dense(7, activation="gelu", name=f"{name}_inner")(y))
        y = layers.LayerNormalization()(layers.Add()([y, z]))
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


@topology(smallest=9 * 12 * 8 + attention(9, 9, (8, 8, 8), 8, key=4) + 9 * 8 * 2 + 8 * 3)
def vision_transformer():
    # Normalised before each part of a block; patches of 2 x 2.
    x = image((6, 6, 3))
    y = layers.Reshape((9, 8))(layers.Conv2D(8, 2, strides=2, name="patches")(x))
    z = layers.LayerNormalization()(y)
    y = layers.Add()([y, layers.MultiHeadAttention(3, 4, value_dim=2, dropout=0.1, name="attention")(z, z)])
    z = layers.Dense(7, activation="gelu", name="inner")(layers.LayerNormalization()(y))
    y = layers.Add()([y, layers.Dense(8)(z)])
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.LayerNormalization()(y))))


@topology(
    smallest=4 * (5 * 8 + 8 * 2 + 8) + attention(4, 4, (8, 8, 8), 8, 3, 3, heads=2, value_heads=1, gate=1) + 4 * 8 * 3
)
def decoder_with_grouped_queries():
    # RMS normalisation, one head of keys to two of queries, a gated MLP. The width of keys is that of values.
    x = steps(5)
    y = layers.Dense(8, name="stream")(x)
    z = layers.RMSNormalization()(y)
    z = layers.GroupQueryAttention(3, 4, 2, use_gate=True, name="attention")(z, z, use_causal_mask=True)
    y = layers.Add()([y, z])
    z = layers.RMSNormalization()(y)
    z = layers.Multiply()([layers.Dense(7, activation="silu")(z), layers.Dense(7)(z)])
    return keras.Model(x, layers.Dense(3)(layers.Add()([y, layers.Dense(8)(z)])))


@topology(smallest=4 * 5 + 6 * 7 + attention(4, 6, (1, 1, 1), 1, key=3, heads=1) + 4 * 2)
def cross_attention():
    # Without norms: what attention reads and writes is pruned like any channel.
    x, memory = steps(5), steps(7, 6)
    y, z = layers.Dense(4, activation="tanh", name="query")(x), layers.Dense(5, activation="tanh", name="value")(memory)
    y = layers.MultiHeadAttention(4, 3, value_dim=5, output_shape=7, use_bias=False, name="attention")(y, z)
    return keras.Model([x, memory], layers.Dense(2)(y))


@topology(smallest=4 * 5 + 6 * 7 + 6 * 7 + attention(4, 6, (1, 1, 1), 1, key=3, gate=1) + 4 * 2)
def attention_with_keys_and_gate():
    # Query, key and value of three widths; the output is as wide as the query was, and nothing ties the two.
    x, memory = steps(5), steps(7, 6)
    query, value, key = (layers.Dense(n, activation="tanh")(t) for n, t in ((4, x), (5, memory), (6, memory)))
    attend = layers.MultiHeadAttention(2, 3, value_dim=4, use_gate=True, name="attention")
    return keras.Model([x, memory], layers.Dense(2)(attend(query, value, key=key)))


@topology(smallest=4 * 5 * 7 + attention(7, 7, (4, 4, 4), 1, key=3) + 7 * 2)
def attention_across_channels():
    # The 7 channels are the positions, and all of them stay; the layer reads 4 steps, and writes channels of its own.
    x = steps(5)
    y = layers.Permute((2, 1))(layers.Dense(7, activation="tanh", name="into")(x))
    return keras.Model(x, layers.Dense(2)(layers.MultiHeadAttention(2, 3, name="attention")(y, y)))


@topology(smallest=4 * 5 + attention(4, 4, (1, 1, 1), 1, key=3, heads=3) + 4 * 2)
def attention_scores_are_an_output():
    # Each head's scores leave the model, so all heads stay.
    x = steps(5)
    y = layers.Dense(4, activation="tanh")(x)
    y, scores = layers.MultiHeadAttention(3, 3, name="attention")(y, y, return_attention_scores=True)
    return keras.Model(x, [layers.Dense(2)(y), scores])


@topology(smallest=2 * (6 * 5 + attention(6, 6, (1, 1, 1), 1, key=3)) + 2 * 2)
def shared_attention_over_images():
    # One layer for two tensors, over both axes of positions.
    shared = layers.MultiHeadAttention(2, 3, value_dim=4, attention_axes=(1, 2), name="attention")
    pooled = []
    for x in (inputs := [keras.Input((3, 2, 5)), keras.Input((3, 2, 5))]):
        y = layers.Dense(4, activation="tanh")(x)
        pooled.append(layers.GlobalAveragePooling2D()(shared(y, y)))
    return keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(pooled)))


@topology(smallest=4 * 5 + attention(4, 4, (1, 1, 1), 1, key=1) + 4 * 2, through_norms=True)
def attention_key_width():
    x = steps(5)
    y = layers.Dense(4, activation="tanh")(x)
    y = layers.MultiHeadAttention(2, 5, name="attention")(y, y, use_causal_mask=True)
    return keras.Model(x, layers.Dense(2)(y))


@topology(smallest=4 * 5 + 6 * 7 + attention(4, 6, (1, 1, 1), 1, key=3, value=3, heads=2, value_heads=1) + 4 * 2)
def cross_attention_with_grouped_queries():
    # Keras wants queries and values of one width, so these two go together; keys and values keep their 3 channels.
    x, memory = steps(5), steps(7, 6)
    query, value = layers.Dense(4, activation="tanh")(x), layers.Dense(4, activation="tanh")(memory)
    return keras.Model([x, memory], layers.Dense(2)(layers.GroupQueryAttention(3, 4, 2)(query, value)))


@topology(smallest=4 * 5 + attention(4, 4, (1, 1, 1), 1, key=1) + 4 * 2, through_norms=True)
def single_head_of_keys():
    # All heads of queries share one head of keys and values.
    x = steps(5)
    y = layers.Dense(4, activation="tanh")(x)
    y = layers.GroupQueryAttention(5, 3, 1, use_bias=False, name="attention")(y, y)
    return keras.Model(x, layers.Dense(2)(y))


@topology(smallest=4 * 5 * 4 + 6 * 7 * 4 + 6 * 7 + 4 * 6 * (4 + 1) + 4 * 3 + 4 * 4 * (3 + 3) + 4 * 3 * 2)
def attention_without_projections():
    # Scores are over all 4 channels of queries and keys; values are weighted one by one.
    x, memory = steps(5), steps(7, 6)
    query, key = (layers.Dense(4, activation="tanh", name=n)(t) for n, t in (("query", x), ("key", memory)))
    value = layers.Dense(5, activation="tanh", name="value")(memory)
    y = layers.Attention(use_scale=True)([query, value, key])
    # What has been attended to is a query of one channel... and its own value.
    z = layers.Dense(3, name="again")(y)
    return keras.Model([x, memory], layers.Dense(2)(layers.AdditiveAttention()([z, z])))


@topology(smallest=4 * 5 * 7 + 7 * 7 * (4 + 4) + 7 * 4 + 7 * 2)
def attention_without_projections_across_channels():
    # 7 positions of 4 numbers each: the channels, all of which stay, are the positions.
    x = steps(5)
    y = layers.Permute((2, 1))(layers.Dense(7, activation="tanh", name="into")(x))
    y = layers.Dense(3, name="goes")(layers.Attention()([y, y]))
    return keras.Model(x, layers.Dense(2)(y))


@topology(smallest=4 * 5 + 4 * 2 + 4 * 2 + 4 * 2)
def einsum_dense():
    # Heads of width 4, written and read: of the two new axes the last is cut, the 2 heads stay.
    x = steps(5)
    y = layers.EinsumDense("abc,cd->abd", (4, 7), bias_axes="d", activation="tanh", name="flat")(x)
    y = layers.EinsumDense("abc,cde->abde", (4, 2, 4), bias_axes="de", name="split")(y)
    y = layers.EinsumDense("abde,dec->abc", (4, 5), bias_axes="c", name="join")(y)
    return keras.Model(x, layers.EinsumDense("...x,xy->...y", 2, name="last")(y))


@topology(smallest=4 * 5 + 6 * 4 + 6 * 1 + 6 * 2)
def einsum_dense_on_other_axes():
    # Positions are mixed, each channel for itself; then each channel has a scale.
    x = steps(5)
    y = layers.Dense(7, activation="tanh")(x)
    y = layers.EinsumDense("abc,bd->adc", (6, 7), bias_axes="dc", name="mix")(y)
    y = layers.EinsumDense("abc,c->abc", (6, 7), bias_axes="c", name="scale")(y)
    return keras.Model(x, layers.EinsumDense("...x,xy->...y", 2, bias_axes="y")(y))
