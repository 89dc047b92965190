"""Small images with a digit somewhere, the pixels it covers, and which digit it is; a network with an answer to each."""

import functools

import keras
import numpy as np
import sklearn.datasets
from keras import layers, ops

SIZE = 16


def scenes(count=128, seed=0):
    """float32 `[count, 16, 16, 1]`; int64 masks `[count, 16, 16, 1]`: where the digit is; int64 digits `[count]`."""
    digits, names = sklearn.datasets.load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(digits), count)
    x = rng.uniform(0, 0.2, (count, SIZE, SIZE, 1)).astype("float32")
    masks = np.zeros((count, SIZE, SIZE, 1), "int64")
    for image, mask, digit in zip(x, masks, digits[chosen].reshape(-1, 8, 8, 1) / 16, strict=True):
        top, left = rng.integers(0, SIZE - 8, 2)
        image[top : top + 8, left : left + 8] += digit
        mask[top : top + 8, left : left + 8] = digit > 0.3
    return x, masks, names[chosen].astype("int64")


def network(seed=0):
    """A U-Net of one step with a skip concatenation, and a head for the class; not compiled."""
    keras.utils.set_random_seed(seed)

    def conv(x, filters, name, strides=1):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=name)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.8, name=f"{name}_norm")(x))

    x = keras.Input((SIZE, SIZE, 1), name="image")
    fine = conv(x, 8, "fine")
    y = conv(fine, 12, "down", strides=2)
    y = layers.Add()([y, conv(conv(y, 32, "inside"), 12, "outside")])
    up = layers.UpSampling2D()(y)
    mask = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(
        conv(layers.Concatenate()([fine, up]), 8, "merged")
    )
    digit = layers.Dense(10, activation="softmax", name="digit")(layers.GlobalMaxPooling2D()(y))
    return keras.Model(x, {"mask": mask, "digit": digit}, name="scenes")


def overlap(y, outputs):
    """Intersection over union of mask and answer, for each image."""
    truth, found = ops.cast(y["mask"], "float32"), ops.cast(outputs["mask"] > 0.5, "float32")
    both = ops.sum(truth * found, axis=(1, 2, 3))
    return both / ops.maximum(ops.sum(ops.maximum(truth, found), axis=(1, 2, 3)), 1.0)


@functools.cache
def trained_network():
    """Compiled, and trained until masks overlap by more than half; not to be changed."""
    model = network()
    losses = {"mask": "binary_crossentropy", "digit": "sparse_categorical_crossentropy"}
    model.compile(keras.optimizers.Adam(0.01), losses, loss_weights={"mask": 1.0, "digit": 0.1})
    x, masks, digits = scenes(512, seed=1)
    model.fit(x, {"mask": masks, "digit": digits}, batch_size=32, epochs=6, shuffle=False, verbose=0)
    return model
