"""A network of keras.applications in all forms that DARC gives it; tests/end_to_end/darc_applications.py has four."""

import keras
import numpy as np
import pytest
from relaxed_networks import OPTIONS, check_forms, settle

from tfcompress.methods import DARC


@pytest.mark.slow
def test_the_first_blocks_of_mobilenet_v2(tmp_path):
    """Padding before strided depthwise convolutions, linear bottlenecks, a sum, and ReLU6."""
    keras.utils.set_random_seed(0)
    whole = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False, pooling=None)
    x = whole.get_layer("block_3_project_BN").output
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(whole.input, keras.layers.Dense(4, activation="softmax", name="classes")(x))
    x = np.random.default_rng(0).random((8, 32, 32, 3), dtype="float32")
    settle(model, x)
    method = DARC(**OPTIONS, replacements=("3x3DS", "1x1FC", "3x3+1x1", "low_rank"))
    seen = check_forms(model, method, x, tmp_path)
    assert seen["units"] >= 5
    assert seen["macs"] < 1
