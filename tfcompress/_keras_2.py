"""Imports packages that are written for Keras 2 (tf-agents, tensorflow-model-optimization) on tf_keras.

They find Keras as `tf.keras`, which is Keras 3 today. Switching the whole process to Keras 2 would change the user's
own `tf.keras`; so they are imported while `sys.modules` holds stand-ins for the tensorflow modules, which pass every
attribute on to the real ones but have tf_keras as their `keras`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import types
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["StandIn", "importing_on_keras_2"]

_lock = threading.RLock()

# What the packages set when they are imported. Other names are left to other threads.
_VARIABLES = ("PYGAME_HIDE_SUPPORT_PROMPT", "TF_USE_LEGACY_KERAS")
_WARNING = "(tf_agents|tensorflow|tf_keras|gym|pygame|gin|numpy|google|pkg_resources|flatbuffers)"


class StandIn(types.ModuleType):
    """A module that forwards all attributes to another one, except a few of its own."""

    def __init__(self, real: types.ModuleType, **own: types.ModuleType):
        super().__init__(real.__name__, real.__doc__)
        for name in ("__file__", "__loader__", "__package__", "__path__", "__spec__"):
            if hasattr(real, name):
                own[name] = getattr(real, name)
        self.__dict__.update(own, _real=real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_real"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_real"], name, value)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_real"])


def _stand_ins() -> dict[str, types.ModuleType]:
    """Returns stand-ins by the names of the real modules in `sys.modules`."""
    import tensorflow as tf

    keras_v1 = importlib.import_module("tf_keras.api._v1.keras")
    keras_v2 = importlib.import_module("tf_keras.api._v2.keras")
    v1 = StandIn(tf.compat.v1, keras=keras_v1)
    v2 = StandIn(tf.compat.v2, keras=keras_v2)
    compat = StandIn(tf.compat, v1=v1, v2=v2)
    return {
        "tensorflow": StandIn(tf, compat=compat, keras=keras_v2),
        "tensorflow.compat": compat,
        "tensorflow.compat.v1": v1,
        "tensorflow.compat.v2": v2,
        "tensorflow.keras": keras_v2,
        "tensorflow.compat.v1.keras": keras_v1,
        "tensorflow.compat.v2.keras": keras_v2,
    }


@contextlib.contextmanager
def _unchanged_environment() -> Iterator[None]:
    """Restores the variables and the warning filters that some packages change when they are imported."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=_WARNING)
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def importing_on_keras_2(silenced: Mapping[str, types.ModuleType] | None = None) -> Iterator[None]:
    """Makes modules that are imported inside see tf_keras as `tf.keras`; everything is put back afterwards.

    While it runs (some seconds, the first time), other threads that import tensorflow would see the stand-ins, and
    warning filters that others add meanwhile are lost: code that shares the process with such threads needs a lock.

    Args:
        silenced: further modules to put into `sys.modules` meanwhile, by name, such as one that prints when it is
            imported.

    Raises:
        ImportError: tf_keras is not installed.
    """
    with _lock, _unchanged_environment():
        stand_ins = {**_stand_ins(), **(silenced or {})}
        before = {name: sys.modules.get(name) for name in stand_ins}
        sys.modules.update(stand_ins)
        try:
            yield
        finally:
            for name, module in before.items():
                if module is None:
                    sys.modules.pop(name, None)
                else:
                    sys.modules[name] = module
