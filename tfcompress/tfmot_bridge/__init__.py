"""The bridge to tensorflow-model-optimization, which is written for Keras 2; the only place that knows it.

A Keras 3 model becomes a tf_keras model layer by layer (`bridge`), is wrapped for sparsity, and its weights go back.
"""

from tfcompress.tfmot_bridge._tfmot import load as load_tfmot
from tfcompress.tfmot_bridge.bridge import Bridged, Legacy, check_graph, legacy_of
from tfcompress.tfmot_bridge.carrying import CARRIED, CannotBeCarried

__all__ = ["CARRIED", "Bridged", "CannotBeCarried", "Legacy", "check_graph", "legacy_of", "load_tfmot"]
