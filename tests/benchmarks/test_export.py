"""int8 export of a compressed MobileNetV2 (96x96), against TensorFlow's converter alone."""

import keras
import measuring
import numpy as np
import tensorflow as tf

import tfcompress
from tfcompress.export import export
from tfcompress.methods import Uniform
from tfcompress.process import quiet

_PAIRS = 2
_SAMPLES = 100


def test_int8_export_of_a_compressed_mobilenetv2(table, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10)
    data = (np.zeros((8, 96, 96, 3), "float32"), np.zeros(8, "int64"))
    student = tfcompress.compress(model, Uniform(epochs=0), data, flops_budget=0.5, verbose=0).model
    images = np.random.default_rng(0).uniform(0, 1, (_SAMPLES, 96, 96, 3)).astype("float32")

    def alone():
        converter = tf.lite.TFLiteConverter.from_keras_model(student)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        with quiet():
            assert len(converter.convert()) > 100_000

    def ours():
        report = export(student, tmp_path / "files", "tflite", "int8", images, on_mismatch="warn")
        assert len(report.files) == 1

    pairs = measuring.interleaved(lambda: measuring.timed(ours), lambda: measuring.timed(alone), _PAIRS)
    name = "int8 export of a compressed MobileNetV2 (96x96) / TensorFlow's converter alone"
    table.add(measuring.ratio_row(name, pairs, 1.2, f"{_SAMPLES} calibration images, compared on the same"))
