"""Operations on tensors of any rank: dense layers, normalisation, merges, functions, constants, reductions."""

import numpy as np

from random_graphs.images import ACTIVATIONS
from random_graphs.programs import OPERATIONS, operation, options, small


@operation()
def dense(program, x, pick):
    units = pick(2, 3, 4, 5, 6)
    rest = options(activation=pick(*ACTIVATIONS), use_bias=pick(None, None, False))
    if small(*x.shape[:-1], units):
        program.layer(f"layers.Dense({units}{rest})", x, elastic=True)


@operation()
def activation(program, x, pick):
    softmax = f"Softmax(axis={pick(-1, 1)})"
    name = pick("ReLU()", "LeakyReLU(0.2)", "ELU()", "Activation('selu')", "Activation('silu')", softmax)
    program.layer(f"layers.{name}", x, elastic=True)


@operation()
def passing(program, x, pick):
    """Layers that do nothing, or nothing but in training."""
    name = pick("Dropout(0.3)", "GaussianNoise(0.1)", "Identity()", "ActivityRegularization(0.1)", "AlphaDropout(0.1)")
    program.layer(f"layers.{name}", x, elastic=True)


@operation()
def rescaling(program, x, pick):
    each = [round(0.5 + 0.25 * i, 2) for i in range(x.channels)]
    program.layer(pick("layers.Rescaling(0.5, offset=-1.0)", f"layers.Rescaling({each})"), x)


@operation()
def normalization_over_channels(program, x, pick):
    axes = list(range(1, x.rank + 1))
    name = pick(
        "LayerNormalization()",
        "RMSNormalization()",
        "UnitNormalization()",
        f"LayerNormalization(axis={axes})",
        "LayerNormalization(axis=1)",
        "LayerNormalization(center=False, scale=False)",
        "UnitNormalization(axis=1)",
    )
    program.layer(f"layers.{name}", x)


@operation(rank=(2, 3, 4))
def group_normalization(program, x, pick):
    groups = [n for n in (2, 3) if x.channels % n == 0]
    program.layer(f"layers.GroupNormalization({pick(1, *groups, -1)})", x)


@operation()
def input_normalization(program, x, pick):
    program.layer("layers.Normalization(mean=0.5, variance=2.0)", x)


def _broadcast(x, t):
    """Whether the sum of both has the shape of one of them."""
    if x.rank != t.rank:
        return False
    together = tuple(max(a, b) for a, b in zip(x.shape, t.shape, strict=True))
    return small(*together) and all(a == b or 1 in (a, b) for a, b in zip(x.shape, t.shape, strict=True))


def _partner(program, x, pick, fits):
    """Another tensor that fits, or else one that a dense layer makes of `x`."""
    others = program.others(x, lambda t: program._is_float(t) and fits(t))
    if others:
        return pick(*others[:3])
    return program.layer(f"layers.Dense({x.channels}, activation='tanh')", x)


@operation()
def merge(program, x, pick):
    name = pick("Add", "Multiply", "Subtract", "Average", "Maximum", "Minimum")
    y = _partner(program, x, pick, lambda t: _broadcast(x, t))
    first, second = pick((x, y), (y, x))
    if name != "Subtract" and pick(False, False, True):
        program.layer(f"layers.{name}()", x, y, call=f"[{first}, {second}, {first}]")
    else:
        program.layer(f"layers.{name}()", x, y, call=f"[{first}, {second}]")


@operation(rank=(2, 3))
def merge_of_ranks(program, x, pick):
    """Keras' merge layers put missing axes behind the batch."""
    y = _partner(program, x, pick, lambda t: t.rank < x.rank and t.channels == x.channels and _ends(x, t))
    program.layer(f"layers.{pick('Add', 'Multiply', 'Maximum')}()", x, y, call=f"[{x}, {y}]")


def _ends(x, t):
    return all(a == b or b == 1 for a, b in zip(x.shape[-t.rank :], t.shape, strict=True))


@operation()
def operators(program, x, pick):
    y = _partner(program, x, pick, lambda t: _broadcast(x, t))
    a, b = pick((x, y), (y, x))
    program.add(
        pick(
            f"{a} + {b}",
            f"{a} * {b}",
            f"{a} - {b}",
            f"{a} / (ops.square({b}) + 1.0)",
            f"ops.maximum({a}, {b})",
            f"ops.logaddexp({a}, {b})",
            f"ops.where({a} > 0.1, {a}, {b})",
            f"ops.arctan2({a}, ops.square({b}) + 1.0)",
            f"ops.hypot({a}, {b})",
        ),
        x,
        y,
    )


@operation()
def constants(program, x, pick):
    each = np.round(np.linspace(0.5, 1.5, x.channels), 2).tolist()
    array = f"np.array({each}, 'float64')"
    table = f"np.linspace(-1.0, 1.0, {2 if x.rank == 1 else x.shape[-2]}).reshape(-1, 1)"
    program.add(
        pick(
            f"{x} * 0.5 + 1.0",
            f"1.0 - {x}",
            f"{x} * {array}",
            f"ops.add({array}, {x})",
            f"{x} / 2.0",
            f"{x} ** 2",
            f"-{x}",
            f"ops.multiply({x}, {table})" if x.rank > 1 else f"ops.multiply({array}, {x})",
            f"ops.maximum({x}, {array})",
            f"2.0 / (ops.square({x}) + 1.0)",
        ),
        x,
    )


@operation()
def functions(program, x, pick):
    axis = pick(-1, 1)
    program.add(
        pick(
            f"ops.relu({x})",
            f"ops.tanh({x})",
            f"ops.sin({x})",
            f"ops.abs({x})",
            f"ops.gelu({x})",
            f"ops.leaky_relu({x}, 0.3)",
            f"ops.clip({x}, -0.5, 0.5)",
            f"ops.exp(ops.tanh({x}))",
            f"ops.log1p(ops.square({x}))",
            f"ops.sqrt(ops.square({x}) + 1.0)",
            f"ops.softmax({x}, axis={axis})",
            f"ops.cumsum({x}, axis={axis})",
        ),
        x,
    )


@operation()
def unknown(program, x, pick):
    """An operation without a handler: a fixed point."""
    program.add(f"ops.sort({x}, axis={pick(-1, 1)})", x)


@operation(rank=(2, 3, 4))
def reduction(program, x, pick):
    axes = pick(1, tuple(range(1, x.rank)), -1, x.rank - 1, -2)
    function = pick("mean", "max", "sum", "min", "var", "std", "logsumexp", "prod")
    program.add(f"ops.{function}({x}, axis={axes}{options(keepdims=pick(None, True))})", x)


def _side_by_side(x, t, axis):
    return t.rank == x.rank and all(a == b for i, (a, b) in enumerate(zip(x.shape, t.shape, strict=True)) if i != axis)


@operation()
def concatenate(program, x, pick):
    axis = x.rank - 1 if pick(True, True, False) else 0
    y = _partner(program, x, pick, lambda t: _side_by_side(x, t, axis))
    if not small(*x.shape[:axis], x.shape[axis] + y.shape[axis], *x.shape[axis + 1 :]) or y.channels + x.channels > 16:
        return
    where = pick(axis + 1, axis - x.rank)
    parts = pick(f"[{x}, {y}]", f"[{y}, {x}]", f"[{x}, {y}, {x}]")
    if pick(True, False):
        program.layer(f"layers.Concatenate(axis={where})", x, y, call=parts)
    else:
        program.add(f"ops.concatenate({parts}, axis={where})", x, y)


@operation(rank=(1, 2, 3))
def stack(program, x, pick):
    if small(2, *x.shape):
        y = _partner(program, x, pick, lambda t: t.shape == x.shape)
        program.add(f"ops.stack([{x}, {y}], axis={pick(*range(1, x.rank + 2))})", x, y)


@operation()
def again(program, x, pick):
    """Calls a layer, or a nested model, that has been called before."""
    names = [
        name
        for name, shape, elastic in reversed(program.layers)
        if shape == x.shape or (elastic and len(shape) == x.rank and shape[-1] == x.channels)
    ]
    if names:
        program.call_again(pick(*names), x)


@operation()
def twice(program, x, pick):
    """The same layer for `x` and for another tensor of its shape."""
    y = _partner(program, x, pick, lambda t: t.shape == x.shape)
    kinds = ("dense", "batch_normalization", "conv1d", "conv2d", "prelu", "recurrent", "multi_head_attention")
    kind = pick(*(kind for kind in kinds if OPERATIONS[kind].fits(x)))
    OPERATIONS[kind](program, x, pick)
    name, shape, _ = program.layers[-1] if program.layers else (None, None, None)
    if shape == x.shape:
        program.call_again(name, y)


@operation()
def nested(program, x, pick, inner):
    """A model in the model; `again` calls it a second time."""
    deeper = type(program)(chr(ord("a") + sum("keras.Model" in s.maker for s in program.statements)), program)
    start = deeper.input(x.shape)
    for step in inner:
        if step.operation != "nested":
            deeper.take(step)
    last = deeper.tensors[-1]
    if last == start:
        last = deeper.layer("layers.Dense(3)", start)
    program.layer(f"keras.Model({start}, {last})", x)
    if pick(False, True):
        y = _partner(program, x, pick, lambda t: t.shape == x.shape)
        program.call_again(program.layers[-1][0], y)
