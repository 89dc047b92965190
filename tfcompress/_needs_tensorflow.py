"""Whatever imports this needs Keras on TensorFlow; the import says so in one line where Keras runs on another."""

from __future__ import annotations

import os

from tfcompress.process import quiet_tensorflow

__all__ = ["BACKEND"]


def _backend() -> str:
    try:
        with quiet_tensorflow():
            import keras

        backend = keras.config.backend()
    except (ImportError, ValueError):  # of the library of another backend, or an unknown one
        backend = os.environ.get("KERAS_BACKEND", "")
        if backend in ("", "tensorflow"):
            raise
    if backend != "tensorflow":
        raise ImportError(
            "Expected Keras with its TensorFlow backend, which tfcompress works on (tfcompress.zoo alone runs on "
            f"every backend). Received: backend {backend!r}. Set the environment variable KERAS_BACKEND=tensorflow, or "
            'the "backend" in keras.json, before keras is imported.'
        ) from None
    return backend


BACKEND = _backend()
