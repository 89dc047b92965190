from handled import handled
from keras import ops


def test_sorting_positions():
    assert handled(lambda x: ops.sort(x, axis=1), (5, 3)).labels == [(2, [0, 1, 2])]
    assert handled(lambda x: ops.argsort(x, axis=1), (5, 3)).labels == [(2, [0, 1, 2])]


def test_the_largest_of_each_channel():
    """The last axis is searched; channels lie on the one before: values and places are of the same channels."""
    largest = handled(lambda x: ops.top_k(x, 2), (3, 5), axes=[1])
    assert largest.labels == [(1, [0, 1, 2]), (1, [0, 1, 2])]
    assert largest.fixed == []


def test_sorting_channels_fixes_them():
    assert handled(lambda x: ops.sort(x, axis=-1), (5, 3)).fixed[:3] == [0, 1, 2]
    assert handled(lambda x: ops.top_k(x, 2), (5, 3)).fixed[:3] == [0, 1, 2]


def test_taking_along_an_axis():
    def taken(axis):
        return lambda x, places: ops.take_along_axis(x, ops.cast(places, "int32"), axis=axis)

    along = handled(taken(1), (5, 3), (2, 3))
    assert along.labels == [(2, [0, 1, 2])]
    assert along.ties == [[0, 3], [1, 4], [2, 5]]
    assert handled(taken(2), (5, 3), (5, 2)).fixed[:5] == [0, 1, 2, 3, 4]
