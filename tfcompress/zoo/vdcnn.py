"""VDCNN: Conneau et al. (2016), "Very Deep Convolutional Networks for Text Classification" (arXiv:1606.01781).

Characters are looked up in a table of 16 numbers each; four sections of convolutional blocks with 64, 128, 256 and 512
channels, with max pooling in between that halves the length; the 8 largest numbers of each channel go to three Dense
layers. Figure 1 and table 2 of the paper. As in the code of LIT (Koratana et al., 2019), convolutions have no biases,
pooling begins a section, and there are no shortcuts by default.
"""

import keras
from keras import layers, ops

from tfcompress import expect
from tfcompress.zoo.common import batch_norm, check_count, check_head

__all__ = ["vdcnn9", "vdcnn17", "vdcnn29"]

_WIDTHS = (64, 128, 256, 512)
_LARGEST = 8  # k of the k-max pooling
_HALVINGS = 3


def _conv(x, filters, kernel_size, name):
    return layers.Conv1D(
        filters, kernel_size, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)


def _block(x, filters, shortcut, name):
    """Applies two convolutions of size 3, each with BatchNormalization and ReLU (figure 2)."""
    y = _conv(x, filters, 3, f"{name}_conv1")
    y = batch_norm(y, f"{name}_bn1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _conv(y, filters, 3, f"{name}_conv2")
    y = batch_norm(y, f"{name}_bn2")
    if shortcut:
        same = x.shape[-1] == filters
        y = layers.Add(name=f"{name}_add")([y, x if same else _conv(x, filters, 1, f"{name}_shortcut_conv")])
    return layers.ReLU(name=f"{name}_relu2")(y)


def _halved(x, name):
    """Applies max pooling of size 3 and stride 2, padded symmetrically."""
    x = layers.ZeroPadding1D(1, name=f"{name}_pad")(x)  # zeros are the least values after a ReLU
    return layers.MaxPooling1D(3, 2, name=name)(x)


def _k_max_pooling(x, k):
    """Returns the k largest numbers of each channel, in their order in the text: `[batch, channels, k]`."""
    x = ops.transpose(x, (0, 2, 1))
    places = ops.sort(ops.top_k(x, k)[1], axis=-1)
    return ops.take_along_axis(x, places, axis=-1)


def _vdcnn(depth, repeats, length, alphabet, classes, shortcut, classifier_activation):
    # A length of n becomes (n + 1) // 2 each time; k positions must be left.
    check_count("length", length, least=(_LARGEST - 1) * 2**_HALVINGS + 1)
    check_count("alphabet", alphabet)
    check_head(classes, classifier_activation)
    expect.flag("shortcut", shortcut)
    inputs = keras.Input((length,), dtype="int32", name="characters")
    x = layers.Embedding(alphabet + 1, 16, name="embedding")(inputs)
    x = _conv(x, 64, 3, "stem_conv")
    for section, (width, repeat) in enumerate(zip(_WIDTHS, repeats, strict=True), start=1):
        if section > 1:
            x = _halved(x, f"section{section}_pool")
        for block in range(1, repeat + 1):
            x = _block(x, width, shortcut, f"section{section}_block{block}")
    x = _k_max_pooling(x, _LARGEST)
    x = layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = layers.Dense(2048, activation="relu", name=f"head_dense{number}")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name=f"vdcnn{depth}")


def vdcnn9(length=1014, alphabet=69, classes=2, shortcut=False, classifier_activation=None):
    """VDCNN-9, 2 convolutions in each section: 14.2 M parameters, 303 M MACs at 1014 characters.

    Args:
        length: number of characters of a text. Longer texts have to be cut, shorter ones padded with zeros.
        alphabet: number of known characters: 1 to `alphabet`. 0 stands for padding and all others.
        classes: number of outputs.
        shortcut: whether the blocks are residual, with a 1x1 convolution where the width changes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `int32 [batch, length]` to `float32 [batch, classes]`.

    Raises:
        ValueError: `length` is below 57, which leaves fewer than 8 positions; or `alphabet` is below 1.
    """
    return _vdcnn(9, (1, 1, 1, 1), length, alphabet, classes, shortcut, classifier_activation)


def vdcnn17(length=1014, alphabet=69, classes=2, shortcut=False, classifier_activation=None):
    """VDCNN-17, 4 convolutions in each section: 16.3 M parameters, 677 M MACs at 1014 characters.

    Arguments as for `vdcnn9`.
    """
    return _vdcnn(17, (2, 2, 2, 2), length, alphabet, classes, shortcut, classifier_activation)


def vdcnn29(length=1014, alphabet=69, classes=2, shortcut=False, classifier_activation=None):
    """VDCNN-29, 10, 10, 4 and 4 convolutions in the sections: 16.6 M parameters, 901 M MACs at 1014 characters.

    Arguments as for `vdcnn9`.
    """
    return _vdcnn(29, (5, 5, 2, 2), length, alphabet, classes, shortcut, classifier_activation)
