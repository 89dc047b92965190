"""Every layer class and operation that has a handler is tested by name, in the file beside its handler."""

import pathlib
import re

import keras
import pytest
from handled import written

import tfcompress.graph  # noqa: F401 - registers all handlers
from tfcompress.graph.handlers import base

TARGETS = {
    target: handler
    for target, handler in {**base._BY_CLASS, **base._BY_OPERATION_NAME}.items()
    if type(handler).__module__.startswith("tfcompress.graph.handlers.")  # tests register others in the same process
}


def beside(target, handler):
    """The file of the tests of a handler; layers of `keras.applications` have one of their own."""
    own = getattr(target, "__module__", "").startswith("keras.src.applications")
    return "test_applications.py" if own else f"test_{type(handler).__module__.rpartition('.')[2]}.py"


def names_of(target):
    """The names that a layer class or an operation goes by in a program."""
    if isinstance(target, str):
        return {target, written(target)}
    return {target.__name__, *(name for name, layer in vars(keras.layers).items() if layer is target)}


def is_named(target, handler, text):
    if isinstance(target, str) and f"registered({type(handler).__name__})" in text:
        return True  # each of them
    return any(re.search(rf"(?<![A-Za-z0-9]){name}(?![a-z0-9])", text) for name in names_of(target))


@pytest.mark.parametrize("file", sorted({beside(*item) for item in TARGETS.items()}))
def test_named_beside_the_handler(file):
    text = pathlib.Path(__file__).with_name(file).read_text(encoding="utf-8")
    missing = [t for t, handler in TARGETS.items() if beside(t, handler) == file and not is_named(t, handler, text)]
    assert not missing


def test_there_are_many():
    assert len(TARGETS) > 200
