"""Functions and objects whose fingerprints have to be the same in every process.

    python fingerprinted.py

prints them as JSON.
"""

import dataclasses
import enum
import functools
import json
import pathlib
import re

import numpy as np

LAMBDA = 0.25
NAMES = {"cat", "dog", "horse"}
TABLE = {(1, 2): "a", "b": [np.float32(0.1), None, float("nan")]}


def helper(x):
    return x * LAMBDA


def score(y, outputs):
    return -helper(outputs) if str(y) in NAMES or y in {"x", "y", "z"} else (lambda v: v + TABLE["b"][0])(outputs)


def recursive(n):
    return 0 if n == 0 else recursive(n - 1) + even(n)


def even(n):
    return n == 0 or not recursive(n - 1)


def with_closure(weight):
    return lambda y, outputs, power=2: weight * outputs**power


class Kind(enum.Enum):
    ONE = 1


class Criterion:
    """Holds settings, an array, and itself."""

    shared = "s"

    def __init__(self, weight=1.0):
        self.weight = weight
        self.array = np.arange(6.0).reshape(2, 3)
        self.me = self

    def __call__(self, group, evidence):
        return self.weight * self.array.sum()

    @property
    def twice(self):
        return 2 * self.weight

    @functools.cached_property
    def costly(self):
        return np.zeros(3)


@dataclasses.dataclass(frozen=True)
class Settings:
    weight: float = 0.5
    kind: Kind = Kind.ONE
    paths: tuple = dataclasses.field(default_factory=lambda: (pathlib.PurePosixPath("a/b"),))


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a = {1, 2, 3}


THINGS = {
    "score": score,
    "recursive": recursive,
    "closure": with_closure(3),
    "partial": functools.partial(with_closure(3), power=3),
    "object": Criterion(),
    "method": Criterion(2.0).__call__,
    "settings": Settings(),
    "slotted": Slotted(),
    "class": Criterion,
    "numpy": np.mean,
    "ufunc": np.exp,
    "builtin": len,
    "generator": np.random.default_rng(3),
    "pattern": re.compile("a+"),
    "cached": functools.lru_cache(helper),
    "long": list(range(1000)),
}


def main():
    from tfcompress.fingerprint import Contents

    contents = Contents()
    print(json.dumps({name: contents.of(thing, name) for name, thing in THINGS.items()}, sort_keys=True))
    assert not contents.unknown, contents.unknown


if __name__ == "__main__":
    main()
