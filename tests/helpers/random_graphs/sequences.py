"""Operations on sequences `[steps, channels]`."""

from random_graphs.programs import operation, options, small


def _recurrent(pick):
    kind, units = pick("LSTM", "GRU", "SimpleRNN"), pick(2, 3, 4)
    before = pick(None, False) if kind == "GRU" else None
    return f"layers.{kind}({units}{options(reset_after=before, use_bias=pick(None, False))}"


@operation(rank=2)
def recurrent(program, x, pick):
    backwards = pick(None, True)
    program.layer(_recurrent(pick) + options(return_sequences=pick(True, None), go_backwards=backwards) + ")", x)


@operation(rank=2)
def recurrent_states(program, x, pick):
    """The states of one recurrent layer are where another begins."""
    kind, units = pick("LSTM", "GRU", "SimpleRNN"), pick(2, 3, 4)
    count = 3 if kind == "LSTM" else 2
    sequences = options(return_sequences=pick(True, None))
    y, *states = program.layer(f"layers.{kind}({units}, return_state=True{sequences})", x, outputs=count)
    if y.rank == 2 and pick(True, False):
        x = y
    given = ", ".join(map(str, states))
    sequences = options(return_sequences=pick(True, None))
    program.layer(f"layers.{kind}({units}{sequences})", x, *states, call=f"{x}, initial_state=[{given}]")


@operation(rank=2)
def bidirectional(program, x, pick):
    mode, sequences = pick(None, "sum", "mul", "ave"), options(return_sequences=pick(True, None))
    program.layer(f"layers.Bidirectional({_recurrent(pick)}{sequences}){options(merge_mode=mode)})", x)


@operation(rank=2)
def time_distributed(program, x, pick):
    units = pick(2, 3, 5)
    inner = pick(f"Dense({units}, activation='tanh')", "BatchNormalization()", "LayerNormalization()", "Dropout(0.2)")
    program.layer(f"layers.TimeDistributed(layers.{inner})", x)


@operation(rank=(3, 4))
def time_distributed_conv(program, x, pick):
    inner = f"layers.Conv{x.rank - 2}D({pick(2, 3, 4)}, {pick(1, 2)}, padding='same')"
    other = f"layers.Global{pick('Average', 'Max')}Pooling{x.rank - 2}D()"
    program.layer(f"layers.TimeDistributed({pick(inner, other, inner, 'layers.Flatten()')})", x)


def _value(program, x, pick, channels=None):
    """What attention looks at: itself, or another sequence."""
    others = program.others(x, lambda t: t.rank == 2 and channels in (None, t.channels))
    return pick(x, others[0]) if others else x


def _bias(pick, heads, *read):
    """None where the biases [heads, width] of width 1 could be as long as the steps: see `checks.BATCH`."""
    return options(use_bias=pick(None, False) if min(t.shape[0] for t in read) > heads else False)


@operation(rank=2)
def multi_head_attention(program, x, pick):
    value = _value(program, x, pick)
    causal, heads = options(use_causal_mask=pick(None, True)), pick(2, 3, 1)
    settings = options(value_dim=pick(None, 2, 3), output_shape=pick(None, 3, 5))
    layer = f"layers.MultiHeadAttention({heads}, {pick(3, 2)}{settings}{_bias(pick, heads, x, value)})"
    # Of scores Keras 3.15 says that they are [heads, queries, queries], whatever the number of values.
    if value.shape[0] == x.shape[0] and pick(False, False, False, True):
        call = f"{x}, {value}, return_attention_scores=True"
        program.layer(layer, x, value, call=call, outputs=2)
    else:
        program.layer(layer, x, value, call=f"{x}, {value}{causal}")


@operation(rank=3)
def attention_over_images(program, x, pick):
    axes, heads = pick((1, 2), (1,), (2,)), pick(2, 1)
    layer = f"layers.MultiHeadAttention({heads}, {pick(2, 3)}, attention_axes={axes}{_bias(pick, heads, x)})"
    program.layer(layer, x, call=f"{x}, {x}")


@operation(rank=2)
def grouped_query_attention(program, x, pick):
    heads, shared = pick((2, 1), (2, 2), (4, 2), (3, 1))
    # Keras wants queries and values of one width.
    value = _value(program, x, pick, x.channels)
    layer = f"layers.GroupQueryAttention({pick(3, 2)}, {heads}, {shared}{_bias(pick, heads, x, value)})"
    program.layer(layer, x, value, call=f"{x}, {value}")


@operation(rank=2)
def attention_without_projections(program, x, pick):
    value = _value(program, x, pick, x.channels)
    name = pick("Attention", "AdditiveAttention")
    program.layer(f"layers.{name}()", x, value, call=f"[{x}, {value}]")


@operation(rank=2)
def einsum_dense(program, x, pick):
    steps, n, m = x.shape[0], pick(2, 3, 4), pick(2, 3)
    bias = options(activation=pick("tanh", None))
    program.layer(
        "layers.EinsumDense("
        + pick(
            f"'abc,cd->abd', ({steps}, {n}), bias_axes='d'",
            f"'...x,xy->...y', {n}",
            f"'abc,bd->adc', ({n}, {x.channels}), bias_axes='dc'",
            f"'abc,c->abc', {x.shape}, bias_axes='c'",
            f"'abc,cde->abde', ({steps}, {m}, {n}), bias_axes='e'",
            f"'abc,bcd->ad', {n}, bias_axes='d'",
        )
        + f"{bias})",
        x,
    )


@operation(rank=3)
def einsum_dense_of_heads(program, x, pick):
    n = pick(2, 3, 4)
    equation = pick(
        f"'abde,dec->abc', ({x.shape[0]}, {n}), bias_axes='c'",
        f"'abde,dc->abce', ({x.shape[0]}, {n}, {x.channels})",
        f"'abde,ec->abdc', ({x.shape[0]}, {x.shape[1]}, {n})",
    )
    program.layer(f"layers.EinsumDense({equation})", x)


@operation(rank=2)
def masking(program, x, pick):
    """Its mask is known to the layers behind it, so one that takes masks comes right after it."""
    y = program.layer("layers.Masking(100.0)", x)
    program.layer(f"layers.{pick('LSTM', 'GRU')}({pick(2, 3)})", y)


@operation(rank=2)
def transformer_block(program, x, pick):
    z = program.layer(f"layers.{pick('LayerNormalization', 'RMSNormalization')}()", x)
    heads = pick(2, 1)
    z = program.layer(f"layers.MultiHeadAttention({heads}, {pick(2, 3)}{_bias(pick, heads, z)})", z, call=f"{z}, {z}")
    y = program.layer("layers.Add()", x, z, call=f"[{x}, {z}]")
    z = program.layer("layers.LayerNormalization()", y)
    z = program.layer(f"layers.Dense({pick(3, 5)}, activation='gelu')", z)
    z = program.layer(f"layers.Dense({x.channels})", z)
    program.add(f"{y} + {z}", y, z)


@operation(rank=1)
def repeat_vector(program, x, pick):
    if small(3, *x.shape):
        program.layer(f"layers.RepeatVector({pick(2, 3)})", x)
