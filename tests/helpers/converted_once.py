"""TFLite files of models that were converted before: a test that converts equal models many times pays for one."""

import contextlib
import hashlib
import json
from unittest import mock

import numpy as np

from tfcompress.export import tflite

_FILES = {}


def _key(network, quantizations, conversion):
    """What a file is made of: layers with their names, weights, and the settings of the conversion."""
    digest = hashlib.sha256(json.dumps(network.get_config(), default=str, sort_keys=True).encode())
    for weight in network.weights:
        digest.update(f"{weight.path} {weight.dtype} {weight.shape}".encode() + weight.numpy().tobytes())
    for array in conversion.calibration or ():
        digest.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    settings = tuple(quantizations), conversion.calibration is None, conversion.batch, conversion.integer_io
    return digest.hexdigest(), settings


@contextlib.contextmanager
def converted_once():
    """Within it, a model that equals one that was converted before in this process has that one's files.

    For models of layers of Keras: of a layer of one's own only the settings are looked at, not its code.
    """
    real = tflite.convert_network

    def known(network, quantizations, conversion=None):
        conversion = conversion or tflite.Conversion()
        if conversion.recipe is not None:
            return real(network, quantizations, conversion)
        key = _key(network, quantizations, conversion)
        if key not in _FILES:
            _FILES[key] = real(network, quantizations, conversion)
        return dict(_FILES[key])

    with mock.patch.object(tflite, "convert_network", known):
        yield
