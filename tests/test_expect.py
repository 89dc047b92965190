"""The checks of settings, one by one: what passes comes back plain, everything else says what was expected."""

import dataclasses
import itertools
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tfcompress import expect

NO_NUMBERS = (None, "1", b"1", True, np.True_, (), [1], {}, np.array(1), np.array([1]), 1j, object, float)


class Broken:
    def __repr__(self):
        raise RuntimeError("no words")

    def __fspath__(self):
        return 3


def refused(check, *args, **limits):
    with pytest.raises(ValueError, match=r"^Expected `it` to be .*Received: it=") as caught:
        check("it", *args, **limits)
    return caught.value


def test_numbers_become_python_s_own():
    for value in (3, np.int64(3), np.uint8(3)):
        assert type(expect.whole("it", value)) is int
    for value, plain in ((3, 3.0), (np.float32(0.5), 0.5), (np.float16(2), 2.0), (np.int8(1), 1.0)):
        found = expect.number("it", value)
        assert (type(found), found) == (float, plain)
    assert type(expect.flag("it", np.True_)) is bool
    assert expect.each("it", np.array([2, 3]), expect.whole, "numbers") == (2, 3)
    assert type(expect.each("it", np.array([2, 3]), expect.whole, "numbers")[0]) is int


def test_what_is_no_number_is_of_a_wrong_type():
    for value in NO_NUMBERS:
        assert isinstance(refused(expect.number, value), TypeError)
        assert isinstance(refused(expect.whole, value), TypeError)
    assert isinstance(refused(expect.whole, 1.0), TypeError)
    for value in (float("nan"), float("inf"), -np.inf, np.float32("nan"), 10**400):
        assert not isinstance(refused(expect.number, value), TypeError)


def test_limits_hold_to_the_digit():
    assert expect.number("it", 1, at_least=1, at_most=1) == 1
    assert str(refused(expect.number, 1, above=1, at_most=2)).startswith("Expected `it` to be a number above 1 and at")
    assert "a number of at least 0 and below 1" in str(refused(expect.number, 1, at_least=0, below=1))
    assert "a number from 0 to 1" in str(refused(expect.number, 1.01, at_least=0, at_most=1))
    assert "a finite number, 0 or more" in str(refused(expect.number, np.inf, at_least=0))
    assert "a whole number, 2 or more. Received: it=1" in str(refused(expect.whole, 1, 2))
    assert "from 1 to 3" in str(refused(expect.whole, 4, 1, 3))
    assert expect.whole("it", 2**63 - 1) == 2**63 - 1
    refused(expect.whole, 2**63)
    assert expect.whole("it", None, or_none=True) is None
    assert "None, or a whole number" in str(refused(expect.whole, -1, or_none=True))


def test_a_share_or_a_count():
    assert expect.share_or_count("it", np.float64(0.5), "FLOPs") == 0.5
    assert expect.share_or_count("it", np.int32(7), "FLOPs") == 7
    assert expect.share_or_count("it", 1.0, "FLOPs") == 1.0
    for one in (1, np.int64(1)):
        assert "write it=1.0 if the whole is meant" in str(refused(expect.share_or_count, one, "FLOPs"))
    for value in (0, -1, 0.0, 1.5, np.nan, np.inf, None, "0.5", True, [0.5], np.array(0.5)):
        refused(expect.share_or_count, value, "FLOPs")


def test_several():
    for value in (3, None, "ab", b"ab", {1: 2}, {1}, np.array(3), np.zeros((2, 2)), [[1]], ["a"]):
        assert isinstance(refused(expect.each, value, expect.whole, "numbers"), TypeError)
    assert expect.each("it", range(2), expect.whole, "numbers") == (0, 1)
    assert expect.each("it", (), expect.whole, "numbers") == ()
    refused(expect.each, (), expect.whole, "numbers", empty=False)
    refused(expect.each, (1, 1), expect.whole, "numbers", unique=True)
    refused(expect.each, (1, 2), expect.whole, "numbers", length=3)
    assert "Received: it=(1, -1)" in str(refused(expect.each, (1, -1), expect.whole, "numbers"))


def test_names():
    assert expect.one_of("it", np.str_("b"), ("a", "b", None)) == "b"
    assert expect.one_of("it", None, ("a", "b", None)) is None
    assert type(expect.one_of("it", np.int64(1), (0, 1))) is int
    for value in (3, ["a"], {}, np.array("a")):
        assert isinstance(refused(expect.one_of, value, ("a", "b")), TypeError)
    assert not isinstance(refused(expect.one_of, "c", ("a", "b")), TypeError)
    assert expect.some_of("it", ["b", "a"], ("a", "b", "c")) == ("a", "b")
    assert expect.some_of("it", None, (None, "a")) == (None,)
    for value in (3, [3], (), "d", ["a", "d"]):
        refused(expect.some_of, value, ("a", "b"))
    for value in ("", "a\0b", "\ud800", 3, None, b"a", pathlib.Path("a")):
        refused(expect.text, value)
    for value in (0, 1, "true", None, []):
        refused(expect.flag, value)


def test_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expect.path("it", "~/run") == tmp_path / "run"
    assert expect.path("it", pathlib.Path("a/b")) == pathlib.Path("a/b")
    with pytest.raises(ValueError, match=r"Expected `it` .*nobody-of-this-name/x'. No home folder is known"):
        expect.path("it", "~nobody-of-this-name/x")
    for value in ("", " ", "a\0b", "\udcff", "a" * 256, "a/" * 2100, b"a", 5, [], ("a",), Broken()):
        refused(expect.path, value)
    assert len(expect.path("it", "a" * 255).name) == 255
    refused(expect.path, None)
    assert expect.path("it", None, or_none=True) is None


def test_any_value_can_be_shown():
    assert expect.received(Broken()) == "a value of type Broken"
    assert expect.received(10**5000) == "a value of type int"
    assert len(expect.received("x" * 10_000)) < 300
    assert "\n" not in expect.received(np.zeros((9, 9)))
    for value in (Broken(), "x" * 10_000, np.zeros((9, 9))):
        refused(expect.whole, value)


def test_fields_of_a_dataclass_hold_plain_values():
    @dataclasses.dataclass(frozen=True)
    class Settings:
        epochs: int = 1
        rate: float = 0.5

        def __post_init__(self):
            expect.settings(self, expect.whole, "epochs", least=1)
            expect.settings(self, expect.number, "rate", above=0)
            if self.epochs == 1:
                expect.unused(self, ["rate"], "with epochs=1")

    assert repr(Settings(np.int64(2), np.float32(0.25))).endswith("Settings(epochs=2, rate=0.25)")
    for wrong, name in itertools.product((None, "x", np.nan, np.inf, -1, ()), ("epochs", "rate")):
        with pytest.raises(ValueError, match=f"^Expected `{name}` to be"):
            Settings(**{"epochs": 2, name: wrong})
    with pytest.raises(ValueError, match=r"^Expected no `rate` with epochs=1. Received: rate=0.25. Leave it out."):
        Settings(rate=0.25)


def test_it_needs_neither_keras_nor_numpy():
    code = "import sys, tfcompress.expect; sys.exit(bool({'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
