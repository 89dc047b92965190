"""Wide residual networks of Zagoruyko and Komodakis (2016) (arXiv:1605.07146), for 32x32 images, as in GluonCV.

Depth 6n + 4 and sections of 16, 32 and 64 channels times a width. The input is normalized without scale and offset; a
3x3 convolution of 16 channels follows, whose output is normalized without a ReLU; blocks normalize and activate before
each convolution; a 1x1 shortcut is used only if channels change, and reads the activated tensor.
"""

from tfcompress import expect
from tfcompress.zoo.common import check_count
from tfcompress.zoo.resnet_v2 import preactivation_network

__all__ = ["wide_resnet", "wide_resnet16_10", "wide_resnet28_10", "wide_resnet40_8"]


def wide_resnet(depth, width, input_shape=(32, 32, 3), classes=10, dropout=0.0, classifier_activation=None):
    """Returns a WideResNet of any depth and width.

    Args:
        depth: 6n + 4 for n blocks in each of the three sections: 10, 16, 22, 28, ...
        width: factor of the sections' 16, 32 and 64 channels.
        input_shape: `(height, width, channels)` of one image.
        classes: number of outputs.
        dropout: rate between the two convolutions of each block; 0 leaves it out.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.

    Raises:
        ValueError: `depth` is not 6n + 4; `width` is below 1; or `dropout` is outside [0, 1).
    """
    check_count("depth", depth)
    if depth < 10 or depth % 6 != 4:
        expect.refuse("depth", "6n + 4 for a whole n of at least 1: 10, 16, 22, 28, ...", depth)
    check_count("width", width)
    dropout = expect.number("dropout", dropout, at_least=0.0, below=1.0)
    return preactivation_network(
        f"wide_resnet{depth}_{width}",
        tuple(width * channels for channels in (16, 32, 64)),
        (depth - 4) // 6,
        input_shape,
        classes,
        classifier_activation,
        stem_norm=True,
        activated_shortcut=True,
        dropout=dropout,
    )


def wide_resnet16_10(input_shape=(32, 32, 3), classes=10, dropout=0.0, classifier_activation=None):
    """WideResNet-16-10: 17.1 M parameters, 2.41 G MACs at 32x32x3. Arguments as for `wide_resnet`."""
    return wide_resnet(16, 10, input_shape, classes, dropout, classifier_activation)


def wide_resnet28_10(input_shape=(32, 32, 3), classes=10, dropout=0.0, classifier_activation=None):
    """WideResNet-28-10: 36.5 M parameters, 5.24 G MACs at 32x32x3. Arguments as for `wide_resnet`."""
    return wide_resnet(28, 10, input_shape, classes, dropout, classifier_activation)


def wide_resnet40_8(input_shape=(32, 32, 3), classes=10, dropout=0.0, classifier_activation=None):
    """WideResNet-40-8: 35.7 M parameters, 5.17 G MACs at 32x32x3. Arguments as for `wide_resnet`."""
    return wide_resnet(40, 8, input_shape, classes, dropout, classifier_activation)
