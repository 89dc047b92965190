import pytest
from handled import handled
from keras import layers

IMAGE = (4, 6, 3)


@pytest.mark.parametrize(
    "layer",
    [
        layers.ReLU(),
        layers.LeakyReLU(),
        layers.ELU(),
        layers.Dropout(0.5),
        layers.AlphaDropout(0.5),
        layers.GaussianDropout(0.5),
        layers.GaussianNoise(0.5),
        layers.SpatialDropout2D(0.5),
        layers.ActivityRegularization(0.1),
        layers.Identity(),
        layers.MaxPooling2D(2),
        layers.AveragePooling2D(2),
        layers.ZeroPadding2D(1),
        layers.Cropping2D(1),
        layers.UpSampling2D(2),
        layers.Resizing(5, 7),
        layers.Activation("gelu"),
        layers.Rescaling(2.0, 0.5),
        layers.Softmax(axis=1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_labels_pass_through(layer):
    passed = handled(layer, IMAGE)
    assert passed.labels == [(3, [0, 1, 2])]
    assert (passed.fixed, passed.ties, passed.weights, passed.macs) == ([], [], {}, [])
    assert passed.config(1) == {}


@pytest.mark.parametrize(
    "layer",
    [
        *(layers.MaxPooling1D, layers.AveragePooling1D, layers.ZeroPadding1D, layers.Cropping1D, layers.UpSampling1D),
        *(layers.MaxPooling3D, layers.AveragePooling3D, layers.ZeroPadding3D, layers.Cropping3D, layers.UpSampling3D),
        *(layers.SpatialDropout1D, layers.SpatialDropout3D),
    ],
)
def test_in_one_and_three_dimensions(layer):
    rank = int(layer.__name__[-2])
    passed = handled(layer(0.5 if "Dropout" in layer.__name__ else 1), (*(4,) * rank, 3))
    assert (passed.labels, passed.fixed) == ([(rank + 1, [0, 1, 2])], [])


def test_noise_that_is_told_the_channels():
    dropped = handled(layers.Dropout(0.5, noise_shape=(None, 1, 3)), (5, 3))
    assert dropped.config(0) == {"noise_shape": (None, 1, 2)}
    assert not dropped.handler.runs_on_slices(dropped.call)


@pytest.mark.parametrize(
    "layer",
    [layers.Activation("softmax"), layers.Softmax(), layers.Softmax(axis=(1, -1)), layers.Rescaling([1.0, 2.0, 3.0])],
    ids=str,
)
def test_channels_that_are_mixed_or_told_apart_stay(layer):
    assert handled(layer, IMAGE).fixed == [0, 1, 2]


def test_pooling_with_channels_on_another_axis_than_it_takes():
    pooled = handled(layers.MaxPooling2D(2), IMAGE, axes=[1])
    assert pooled.fixed == [0, 1, 2, 3, 4, 5, 6]  # the 4 channels, and the 3 that it takes for channels
    assert pooled.labels == [(3, [4, 5, 6])]


@pytest.mark.parametrize(
    "layer",
    [
        *(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
        *(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D),
    ],
)
def test_global_pooling(layer):
    rank = int(layer.__name__[-2])
    shape = (*(2,) * rank, 3)
    assert handled(layer(), shape).labels == [(1, [0, 1, 2])]
    assert handled(layer(keepdims=True), shape).labels == [(rank + 1, [0, 1, 2])]


def test_global_pooling_with_channels_first():
    first = layers.GlobalAveragePooling2D(data_format="channels_first", keepdims=True)
    assert handled(first, (3, 4, 6), axes=[1]).labels == [(1, [0, 1, 2])]
