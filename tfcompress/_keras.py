"""Whatever imports this has Keras loaded, and what it runs on, without TensorFlow's words on processors and drivers."""

from tfcompress.process import quiet_tensorflow

with quiet_tensorflow():
    import keras  # noqa: F401
