"""The only module that imports tensorflow_model_optimization and tf_keras for the bridge; see `_keras_2`."""

from __future__ import annotations

import functools
import importlib
import types

from tfcompress import expect
from tfcompress._keras_2 import importing_on_keras_2

__all__ = ["load"]


@functools.cache
def _import_all() -> types.SimpleNamespace:
    needs = "the methods magnitude, cluster and qat are built on"
    advice = "The other methods work without it."
    expect.extra("tfmot", "tf_keras", needs, advice)  # the stand-ins are made of it
    with importing_on_keras_2():
        tfmot = expect.extra("tfmot", "tensorflow_model_optimization", needs, advice)
        keras = importlib.import_module("tf_keras.api._v2.keras")
        core = "tensorflow_model_optimization.python.core"
        wrapper = importlib.import_module(f"{core}.sparsity.keras.pruning_wrapper")
        cluster_config = importlib.import_module(f"{core}.clustering.keras.cluster_config")
        clustering = importlib.import_module(f"{core}.clustering.keras.experimental.cluster")
        quantization = f"{core}.quantization.keras"
        registry = importlib.import_module(f"{quantization}.default_8bit.default_8bit_quantize_registry")
        configs = importlib.import_module(f"{quantization}.default_8bit.default_8bit_quantize_configs")
        quant_ops = importlib.import_module(f"{quantization}.quant_ops")
    return types.SimpleNamespace(
        tfmot=tfmot,
        keras=keras,
        PruneLowMagnitude=wrapper.PruneLowMagnitude,
        cluster_weights=clustering.cluster_weights,
        GradientAggregation=cluster_config.GradientAggregation,
        registry=registry,
        configs=configs,
        quant_ops=quant_ops,
    )


def load() -> types.SimpleNamespace:
    """Imports tensorflow-model-optimization on tf_keras, once; the user's `tf.keras` and `os.environ` do not change.

    Returns:
        A namespace with the modules `tfmot`, `keras` (tf_keras, Keras 2) and, of what tfmot does not export, the class
        `PruneLowMagnitude`, `GradientAggregation`, the function `cluster_weights` that preserves zeros, and the
        modules `registry`, `configs` and `quant_ops` of quantization.

    Raises:
        ImportError: the package is missing; the message has the line that installs it.
    """
    return _import_all()
