"""What the LIT recipes share."""

import keras

SMOKE = {"data": "digits", "images": 80}
SMOKE_BLOCKS = {"resnet": (1, 1), "resnext": (1, 1)}


def smoke_network(shape, classes, groups=1):
    """Two sections of two residual blocks each, which build in no time; with grouped convolutions if wanted."""
    inputs = keras.Input(shape)
    x = keras.layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    for width, strides in ((8, 1), (16, 2)):
        x = _block(x, width, strides, groups) if strides > 1 else _block(x, width, 1, groups, project=False)
        x = _block(x, width, 1, groups, project=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="classifier")(x), name="smoke")


def _block(x, width, strides, groups, project=True):
    y = keras.layers.Conv2D(width, 3, strides, "same", groups=groups if not project else 1, use_bias=False)(x)
    y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
    y = keras.layers.Conv2D(width, 3, padding="same")(y)
    if project:
        x = keras.layers.Conv2D(width, 1, strides, use_bias=False)(x)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))
