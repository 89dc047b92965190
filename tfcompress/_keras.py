"""Importing this module loads Keras and its backend, without TensorFlow's messages about processors and drivers."""

from tfcompress.process import quiet_tensorflow

with quiet_tensorflow():
    import keras  # noqa: F401
