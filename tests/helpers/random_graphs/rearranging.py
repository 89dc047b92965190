"""Operations that rearrange: reshapes, transposes, slices, splits, padding, repetition."""

import itertools
import math

from random_graphs.programs import operation, small


def _reshapes(shape):
    """Shapes of as many entries: axes merged, split, or cut anew."""
    found = []
    for i in range(len(shape) - 1):
        found.append((*shape[:i], shape[i] * shape[i + 1], *shape[i + 2 :]))
    for i, size in enumerate(shape):
        for n in (2, 3):
            if size % n == 0 and size > n and len(shape) < 4:
                found += [(*shape[:i], n, size // n, *shape[i + 1 :]), (*shape[:i], size // n, n, *shape[i + 1 :])]
    found += [shape[::-1], (*shape, 1), (1, *shape)]
    found += [(n, math.prod(shape) // n) for n in (2, 3, 4) if math.prod(shape) % n == 0]
    return [s for s in dict.fromkeys(found) if s != shape and len(s) <= 4]


@operation()
def reshape(program, x, pick):
    found = _reshapes(x.shape)
    shape = pick(*found[:12])
    shape = pick(*found[12:]) if len(found) > 12 and pick(False, True) else shape
    if pick(True, False):
        if pick(False, True):
            at = pick(0, -1)
            shape = (-1, *shape[1:]) if at == 0 else (*shape[:-1], -1)
        program.layer(f"layers.Reshape({shape})", x)
    else:
        program.add(f"ops.reshape({x}, {(-1, *shape)})", x)


@operation(rank=(2, 3, 4))
def permute(program, x, pick):
    orders = list(itertools.permutations(range(1, x.rank + 1)))[1:]
    order = pick(*orders[:12])
    i, j = order[0], order[-1]
    program.add(
        pick(
            f"layers.Permute({order})({x})",
            f"ops.transpose({x}, {(0, *order)})",
            f"ops.swapaxes({x}, {i}, {j})",
            f"ops.moveaxis({x}, {i}, {j})",
        ),
        x,
    )


@operation(rank=(1, 2, 3, 4))
def flatten(program, x, pick):
    program.layer("layers.Flatten()", x)


@operation()
def slices(program, x, pick):
    """A key for each of one or two axes."""
    keys = [":"] * x.rank
    for axis in dict.fromkeys((x.rank - 1 if pick(True, False) else 0, pick(x.rank - 1, 0))):
        size = x.shape[axis]
        if size == 1:
            continue
        keys[axis] = pick("1:", ":-1", "::2", "1::2", "::-1", f"{size - 1}:0:-1", "None, :", "0:1")
        if size > 2 and pick(False, False, True):
            keys[axis] = pick("1:-1", "1:2", "2:", f"-2:{size + 3}", "::-1", "2::-1")
        elif x.rank > 1 and keys.count(":") == x.rank and pick(False, False, False, True):
            keys[axis] = pick("0", "-1")
    if any(key != ":" for key in keys):
        program.add(f"{x}[:, {', '.join(keys)}]", x)


@operation(fits=lambda x: max(x.shape[0], x.shape[-1]) > 1)
def split(program, x, pick):
    axis = x.rank if pick(True, True, False) else 1
    size = x.shape[axis - 1]
    sections = [n for n in (2, 3) if size % n == 0]
    if size == 1:
        return
    where = pick(*sections, [1], [1, size - 1] if size > 2 else [1])
    parts = program.add_several(f"ops.split({x}, {where}, axis={pick(axis, axis - x.rank - 1)})", x)
    program.read.difference_update(part.name for part in parts)


@operation(rank=(2, 3, 4), fits=lambda x: x.shape[0] in (2, 3))
def unstack(program, x, pick):
    program.add_several(f"ops.unstack({x}, {x.shape[0]}, axis=1)", x)


@operation()
def pad(program, x, pick):
    pads = [[0, 0] for _ in range(x.rank + 1)]
    pads[pick(x.rank, 1)] = pick([1, 0], [0, 2], [1, 1])
    if pick(False, True):
        pads[1] = [1, 0]
    mode = pick("", ", constant_values=0.5", ", mode='edge'")
    if mode.endswith("'edge'"):
        mode = ", mode='symmetric'"
        pads = [[min(a, n), min(b, n)] for (a, b), n in zip(pads, (0, *x.shape), strict=True)]
    if small(*(n + a + b for n, (a, b) in zip(x.shape, pads[1:], strict=True))):
        program.add(f"ops.pad({x}, {pads}{mode})", x)


@operation()
def repetition(program, x, pick):
    axis = pick(x.rank, 1)
    if not small(2, *x.shape) or x.channels > 8:
        return
    repeats = pick(2, [1 + i % 2 for i in range(x.shape[axis - 1])])
    tiles = [1] * (x.rank + 1)
    tiles[axis] = 2
    program.add(pick(f"ops.repeat({x}, {repeats}, axis={axis})", f"ops.tile({x}, {tiles})"), x)


@operation()
def turning(program, x, pick):
    axis = pick(-1, 1)
    program.add(pick(f"ops.flip({x}, axis={axis})", f"ops.roll({x}, {pick(1, 2, -1)}, axis={axis})"), x)


@operation()
def sorting(program, x, pick):
    """By what is nearly equal nothing is chosen: only sorted numbers are the same however they were rounded."""
    axis, k = pick(1, x.rank, -1), pick(1, 2)
    order = f"ops.take_along_axis({x}, ops.argsort({x}, axis={axis}), axis={axis})"
    largest = f"ops.top_k({x}, {min(k, x.channels)})[0]"
    if x.rank == 2:
        largest = f"ops.top_k(ops.transpose({x}, (0, 2, 1)), {min(k, x.shape[0])})[0]"
    program.add(pick(f"ops.sort({x}, axis={axis})", order, largest), x)


@operation(rank=(1, 2, 3))
def axes_of_one(program, x, pick):
    if 1 in x.shape and x.rank > 1 and pick(True, False):
        program.add(f"ops.squeeze({x}, {x.shape.index(1) + 1})", x)
    else:
        program.add(f"ops.expand_dims({x}, {pick(-1, 1, *range(2, x.rank + 1))})", x)
