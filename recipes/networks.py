"""Networks that recipes start from: from the zoo, from a file, trained as the LIT paper's teachers, or tiny ones."""

import keras

import tfcompress

# Sections of plain convolutions count these one by one: two in each of VDCNN's blocks.
VDCNN_BLOCKS = {9: (2, 2, 2, 2), 17: (4, 4, 4, 4), 29: (10, 10, 4, 4)}


def zoo(name, data, streamed=(224, 224, 3)):
    """Returns a network of the zoo for the data; streamed images are cropped to `streamed`."""
    build = getattr(tfcompress.zoo, name)
    if name.startswith("vdcnn"):
        return build(classes=data.classes)
    return build(image_shape(data, streamed), data.classes)


def blocks(depth, args):
    """Returns the number of blocks of a student of this depth in each section (table 6 of the LIT paper)."""
    if args.smoke:
        return (1, 1)
    return VDCNN_BLOCKS[depth] if args.network == "vdcnn" else ((depth - 2) // 6,) * 3


def image_shape(data, streamed=(224, 224, 3)):
    """Returns `(height, width, channels)` of the images as read; a streamed dataset is cropped to `streamed`."""
    return streamed if data.arrays is None else data.preprocess(data.arrays.train[0][:1]).shape[1:]


def tiny(kind, data):
    """Returns the network of a `--smoke` run, which is built in no time.

    Args:
        kind: "residual" for two residual blocks; "resnet" and "resnext" for two sections of blocks, the latter with
            grouped convolutions; "vdcnn" for two sections of convolutions over characters.
        data: the dataset.
    """
    if kind == "vdcnn":
        return _tiny_of_texts(data)
    inputs = keras.Input(image_shape(data, (32, 32, 3)))
    x = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    if kind == "residual":
        for _ in range(2):
            y = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
            y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
            x = keras.layers.Add()([x, keras.layers.Conv2D(8, 3, padding="same")(y)])
    else:
        x = _block(_block(x, 8, kind), 8, kind)
        x = keras.layers.Conv2D(16, 3, 2, "same")(x)
        x = _block(x, 16, kind)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(data.classes)(x), name="smoke")


def thin(data, widths):
    """Returns a student designed by hand: 3x3 convolutions of these widths, each halved by pooling; a classifier."""
    inputs = x = keras.Input(image_shape(data, (32, 32, 3)), name="image")
    for number, width in enumerate(widths, start=1):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"layer{number}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"layer{number}_bn")(x)
        x = keras.layers.MaxPooling2D(2, name=f"layer{number}_pool")(keras.layers.ReLU(name=f"layer{number}_relu")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(data.classes, name="classifier")(x), name="thin")


def _block(x, width, kind):
    y = x
    if kind == "resnext":
        y = keras.layers.Conv2D(width, 3, padding="same", groups=4)(keras.layers.Conv2D(width, 1)(y))
    y = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(y)
    return keras.layers.Add()([x, keras.layers.BatchNormalization()(y)])


def _tiny_of_texts(data):
    """Returns two sections of two and three convolutions, over characters."""
    inputs = keras.Input(data.arrays.train[0].shape[1:], dtype="int32")
    x = keras.layers.Embedding(len(tfcompress.data.CHARACTERS) + 1, 4)(inputs)
    x = keras.layers.Conv1D(8, 3, padding="same")(x)
    for width, repeat in ((8, 2), (16, 3)):  # the first of the second section changes the shape
        for _ in range(repeat):
            x = keras.layers.Conv1D(width, 3, padding="same", activation="relu")(x)
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.MaxPooling1D(2)(x)
    x = keras.layers.GlobalMaxPooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(data.classes)(x), name="smoke")
