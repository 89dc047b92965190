"""Checks of settings and arguments, in one place: each states what it expected and received, and returns plain values.

A check takes the name of an argument and its value. It returns the value in the plain form that the package uses and
stores (numpy's numbers as Python's, lists as tuples), or raises an error in the same form everywhere:

    Expected `epochs` to be a whole number, 0 or more. Received: epochs='many'

`settings` applies a check to fields of a frozen dataclass. Nothing here needs Keras.
"""

from tfcompress.expect.choices import each, flag, one_of, some_of
from tfcompress.expect.extras import extra, install_line
from tfcompress.expect.fields import settings, unused
from tfcompress.expect.numbers import number, seed, share_or_count, whole
from tfcompress.expect.objects import function, instance
from tfcompress.expect.refusing import WrongType, received, refuse
from tfcompress.expect.texts import path, text

__all__ = [
    "WrongType",
    "each",
    "extra",
    "flag",
    "function",
    "install_line",
    "instance",
    "number",
    "one_of",
    "path",
    "received",
    "refuse",
    "seed",
    "settings",
    "share_or_count",
    "some_of",
    "text",
    "unused",
    "whole",
]
