import numpy as np
from handled import handled
from keras import ops


def test_get_item_of_positions():
    for take in (lambda x: x[:, 1:3], lambda x: x[:, ::2], lambda x: x[..., :]):
        taken = handled(take, (5, 3))
        assert (taken.labels, taken.ties, taken.fixed) == ([(2, [0, 1, 2])], [], [])
        assert taken.handler.runs_on_slices(taken.call)
    assert handled(lambda x: x[:, 2], (5, 3)).labels == [(1, [0, 1, 2])]
    assert handled(lambda x: x[:, None], (5, 3)).labels == [(3, [0, 1, 2])]


def test_get_item_of_channels():
    taken = handled(lambda x: x[..., 2:6], (5, 7))
    assert taken.labels == [(2, [2, 3, 4, 5])]
    (_, keys), _ = taken.arguments(0, 3)  # 1 of 2 in front stays, and 3 of the 4 that are taken
    assert keys[-1] == slice(1, 4, 1)
    assert not taken.handler.runs_on_slices(taken.call)
    assert handled(lambda x: x[..., ::-1], (5, 3)).labels == [(2, [2, 1, 0])]


def test_strides_over_channels_go_whole():
    taken = handled(lambda x: x[..., ::2], (5, 6))
    assert taken.labels == [(2, [0, 2, 4])]
    assert taken.ties == [[0, 1], [2, 3], [4, 5]]


def test_one_channel_by_its_number_stays():
    assert handled(lambda x: x[..., 1], (5, 3)).fixed[0] == 1


def test_split():
    parts = handled(lambda x: ops.split(x, [1, 3], axis=-1)[0], (5, 7))
    assert parts.labels == [(2, [0]), (2, [1, 2]), (2, [3, 4, 5, 6])]
    assert parts.config(1, 3, 4) == {"indices_or_sections": (1, 2)}
    along = handled(lambda x: ops.split(x, 2, axis=1)[0], (4, 3))
    assert along.labels == [(2, [0, 1, 2])] * 2


def test_array_split():
    """7 channels in 3 parts, which are not equal: 3, 2 and 2."""
    parts = handled(lambda x: ops.array_split(x, 3, axis=-1)[0], (5, 7))
    assert parts.labels == [(2, [0, 1, 2]), (2, [3, 4]), (2, [5, 6])]
    assert parts.config(1, 3, 4) == {"indices_or_sections": (2, 2)}
    assert parts.config(2) == {"indices_or_sections": 3}  # two of each


def test_unstack():
    steps = handled(lambda x: ops.unstack(x, axis=1)[0], (2, 3))
    assert steps.labels == [(1, [0, 1, 2])] * 2


def test_padding():
    assert handled(lambda x: ops.pad(x, [[0, 0], [1, 1], [0, 0]]), (5, 3)).labels == [(2, [0, 1, 2])]
    padded = handled(lambda x: ops.pad(x, [[0, 0], [0, 0], [1, 2]]), (5, 3))
    ((axis, ids),) = padded.labels
    assert (axis, len(ids), ids[1:4]) == (2, 6, [0, 1, 2])
    assert len(set(ids)) == 6
    assert padded.config(0, ids[-1])["pad_width"] == [[0, 0], [0, 0], [1, 1]]


def test_repetition():
    assert handled(lambda x: ops.repeat(x, 2, axis=1), (5, 3)).labels == [(2, [0, 1, 2])]
    assert handled(lambda x: ops.repeat(x, 2, axis=-1), (5, 3)).labels == [(2, [0, 0, 1, 1, 2, 2])]
    each = handled(lambda x: ops.repeat(x, np.array([1, 3, 2]), axis=-1), (5, 3))
    assert each.labels == [(2, [0, 1, 1, 1, 2, 2])]
    assert each.config(1) == {"repeats": [1, 2]}


def test_tiles():
    assert handled(lambda x: ops.tile(x, (1, 2, 1)), (5, 3)).labels == [(2, [0, 1, 2])]
    assert handled(lambda x: ops.tile(x, (1, 1, 2)), (5, 3)).labels == [(2, [0, 1, 2, 0, 1, 2])]


def test_flips():
    assert handled(lambda x: ops.flip(x, axis=1), (5, 3)).labels == [(2, [0, 1, 2])]
    assert handled(lambda x: ops.flip(x, axis=-1), (5, 3)).labels == [(2, [2, 1, 0])]


def test_rolls():
    assert handled(lambda x: ops.roll(x, 2, axis=1), (5, 3)).labels == [(2, [0, 1, 2])]
    rolled = handled(lambda x: ops.roll(x, 2, axis=-1), (7, 5))
    assert rolled.labels == [(2, [3, 4, 0, 1, 2])]
    assert rolled.config(3) == {"shift": 1}  # one of the two that move to the front stays


def test_depth_and_space():
    """Of 12 channels 3 come out at 2 x 2 places: those 4 go together; back, each is read at 4 places."""
    space = handled(lambda x: ops.depth_to_space(x, 2), (5, 7, 12))
    assert space.labels == [(3, [0, 1, 2])]
    assert space.ties == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert handled(lambda x: ops.space_to_depth(x, 2), (4, 6, 3)).labels == [(3, [0, 1, 2] * 4)]
