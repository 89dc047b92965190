"""Contents of values and functions: equal where they do the same, in every process."""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import types

import fingerprinted
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcompress.fingerprint import Contents, differences

ROOT = pathlib.Path(__file__).resolve().parents[2]


def content(value):
    contents = Contents()
    found = contents.of(value, "it")
    assert not contents.unknown, contents.unknown
    return json.dumps(found, sort_keys=True)


def from_source(source, name="f", **names):
    """A function as a module of the user's own would have it."""
    space = {"__name__": "their_module", **names}
    exec(compile(source, "somewhere.py", "exec"), space)
    return space[name]


def test_the_same_in_another_process_with_other_hashes():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "4711", "KERAS_BACKEND": "tensorflow"}
    script = fingerprinted.__file__
    answer = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-2000:]
    theirs = json.loads(answer.stdout.splitlines()[-1])
    contents = Contents()
    ours = {name: contents.of(thing, name) for name, thing in fingerprinted.THINGS.items()}
    assert not differences(theirs, json.loads(json.dumps(ours)))
    assert not contents.unknown


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("def f(y, o): return o * 2", "def f(y, o): return o * 3"),  # a constant
        ("def f(y, o): return o + y", "def f(y, o): return o - y"),  # an operation
        ("def f(y, o): return o.max()", "def f(y, o): return o.min()"),  # an attribute
        ("def f(y, o, k=1): return o * k", "def f(y, o, k=2): return o * k"),  # a default
        ("def f(y, *, k=1): return y * k", "def f(y, *, k=2): return y * k"),
        ("K = 1\ndef f(y): return K * y", "K = 2\ndef f(y): return K * y"),  # a global
        ("K = [1, [2]]\ndef f(y): return K[0] * y", "K = [1, [3]]\ndef f(y): return K[0] * y"),
        ("def g(y): return y\ndef f(y): return g(y)", "def g(y): return -y\ndef f(y): return g(y)"),  # one it calls
        ("K = 1\ndef f(y): return [K * v for v in y]", "K = 2\ndef f(y): return [K * v for v in y]"),  # an inner code
        ("def m(k):\n  return lambda y: y * k\nf = m(1)", "def m(k):\n  return lambda y: y * k\nf = m(2)"),  # closure
        ("class C:\n  k = 1\n  def __call__(self, y): return y\nf = C()",) * 1
        + ("class C:\n  k = 2\n  def __call__(self, y): return y\nf = C()",),
        ("class C:\n  def f(self, y): return y\nc = C(); c.k = 1; f = c.f",) * 1
        + ("class C:\n  def f(self, y): return y\nc = C(); c.k = 2; f = c.f",),  # what it is bound to
        ("class B:\n  def s(self): return 1\nclass f(B): pass", "class B:\n  def s(self): return 2\nclass f(B): pass"),
        ("def f(y): return y\nf.weight = 1", "def f(y): return y\nf.weight = 2"),
        ("import functools\nf = functools.partial(max, 1)", "import functools\nf = functools.partial(max, 2)"),
        ("import functools\nf = functools.partial(max, 1)", "import functools\nf = functools.partial(min, 1)"),
        ("def f(y):\n  def g(v): return v + 1\n  return g(y)", "def f(y):\n  def g(v): return v + 2\n  return g(y)"),
        ("f = [].append", "f = [1].append"),  # a C function and what it is bound to
        (
            "import numpy\nf = numpy.random.default_rng(1).random",
            "import numpy\nf = numpy.random.default_rng(2).random",
        ),
        ("f = {1: 'a'}", "f = {'1': 'a'}"),
        ("f = (0.1, True)", "f = (0.1, 1)"),
        ("import numpy\nf = numpy.zeros(3)", "import numpy\nf = numpy.zeros(3, 'float32')"),
        ("import numpy\nf = numpy.zeros((2, 3))", "import numpy\nf = numpy.zeros((3, 2))"),
        ("import numpy\nf = numpy.array(['a', None], object)", "import numpy\nf = numpy.array(['b', None], object)"),
    ],
)
def test_what_does_something_else(first, second):
    assert content(from_source(first)) == content(from_source(first))
    assert content(from_source(first)) != content(from_source(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("def f(y): return y + 1", "\n\n\ndef f(y):\n    # more\n    return y + 1"),
        ("K = 1\nL = 1\ndef f(y): return K * y", "K = 1\nL = 2\ndef f(y): return K * y"),  # a global it does not read
        ("K = {'a': 1, 'b': 2}\ndef f(y): return K[y]", "K = {'b': 2, 'a': 1}\ndef f(y): return K[y]"),
        ("def f(values): total = 0; return total", "def f(values): sum_ = 0; return sum_"),  # a local name
    ],
)
def test_what_does_the_same(first, second):
    assert content(from_source(first)) == content(from_source(second))


def test_attributes_of_ones_own_modules_are_looked_at():
    def function(factor):
        module = types.ModuleType("their_constants")
        module.FACTOR, module.OTHER = factor, object()
        return from_source("def f(y): return y * theirs.FACTOR", theirs=module)

    assert content(function(1)) == content(function(1)) != content(function(2))


def test_modules_that_are_handed_on_are_looked_at_as_a_whole():
    def module(factor):
        found = types.ModuleType("their_constants")
        found.FACTOR = factor
        return found

    for kept in (lambda m: [m], lambda m: functools.partial(max, m), lambda m: from_source("def f(): return m", m=m)):
        assert content(kept(module(1))) == content(kept(module(1))) != content(kept(module(2)))


def dense(value):
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    layer.kernel.assign(np.full((3, 2), value))
    return layer


class Perceptual(keras.losses.Loss):
    """Compares what a trained network makes of the outputs."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def call(self, y, outputs):
        return self.part(outputs) - self.part(y)


@pytest.mark.parametrize(
    "made",
    [
        dense,
        lambda value: from_source("def f(y): return layer(y)", layer=dense(value)),
        lambda value: Perceptual(dense(value)),
        lambda value: Perceptual([keras.Sequential([keras.Input((3,)), dense(value)])]),
        lambda value: Perceptual(keras.Variable([value])),
        lambda value: np.ma.array([1, 2], mask=[0, value]),
        np.longdouble,
        keras.random.SeedGenerator,
    ],
)
def test_weights_that_a_loss_or_an_objective_computes_with(made):
    assert content(made(1)) == content(made(1)) != content(made(0))


def test_keras_objects():
    def my_loss(y, outputs):
        return outputs

    class Weighted(keras.losses.Loss):
        def __init__(self, weight):
            super().__init__()
            self.weight = weight

        def call(self, y, outputs):
            return self.weight * outputs

    losses = [
        keras.losses.Huber(delta=1.0),
        keras.losses.Huber(delta=2.0),
        Weighted(1.0),  # whose configuration says nothing of the weight
        Weighted(2.0),
        keras.metrics.MeanMetricWrapper(my_loss),
        keras.regularizers.L2(0.1),
        keras.optimizers.schedules.CosineDecay(0.1, 10),
        keras.losses.mean_squared_error,
    ]
    assert len({content(loss) for loss in losses}) == len(losses)
    assert content(keras.losses.Huber(delta=1.0)) == content(losses[0])
    assert content(tf.function(my_loss)) == content(my_loss)


def test_optimizers():
    """By their settings and by the code of what is the user's own; their slots are made anew for each phase."""

    class Falling(keras.optimizers.schedules.LearningRateSchedule):
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, step):
            return self.rate / (step + 1)

        def get_config(self):
            return {"rate": 0.1}  # whatever it is

    class Own(keras.optimizers.Adam):
        def __init__(self, power, **rest):
            super().__init__(**rest)
            self.power = power

    makers = [
        keras.optimizers.Adam,
        lambda: keras.optimizers.Adam(beta_1=0.5),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 10)),
        lambda: keras.optimizers.Adam(Falling(0.1)),
        lambda: keras.optimizers.Adam(Falling(0.2)),
        lambda: Own(1),  # its config says nothing of the power
        lambda: Own(2),
        keras.optimizers.SGD,
    ]
    texts = []
    for make in makers:
        new, used = make(), make()
        used.build([keras.Variable(np.ones(3, "float32"))])
        texts.append(content(new))
        assert content(used) == texts[-1]
    assert len(set(texts)) == len(makers)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (iter([1]), "list_iterator"),
        ((number for number in (1, 2)), "generator"),
        (np.frompyfunc(lambda a: a, 1, 1), "ufunc"),
        (tf.data.Dataset.range(3), "whose contents cannot be compared"),
        (threading.Thread(), "state cannot be read|Thread"),
        (sys.stdout, "state cannot be read"),
        ([{}] * 10 + [[[i] for i in range(30_000)]], "too much"),
    ],
)
def test_what_cannot_be_compared_is_told(thing, words):
    contents = Contents()
    contents.of(from_source("def f(y): return thing", thing=thing), "objective")
    assert contents.unknown
    assert all(text.startswith("objective: thing") for text in contents.unknown)
    assert any(re.search(words, text) for text in contents.unknown)


def test_wrappers_of_packages_go_by_what_they_wrap():
    def wrapped(function):
        return tf.autograph.experimental.do_not_convert(function)

    one, other = wrapped(lambda y: y + 1), wrapped(lambda y: y + 2)
    assert content(one) != content(other)
    assert content(functools.lru_cache(lambda y: y + 1)) != content(functools.lru_cache(lambda y: y + 2))


def test_functions_of_packages_that_were_made_from_values():
    """`operator.itemgetter(1)` and the like are told apart, though their class has one name."""
    import operator

    assert content(operator.itemgetter(1)) != content(operator.itemgetter(2))
    assert content(np.vectorize(lambda v: v + 1)) != content(np.vectorize(lambda v: v + 2))
