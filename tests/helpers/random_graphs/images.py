"""Operations on images `[height, width, channels]`, volumes and sequences of images."""

from random_graphs.programs import operation, options, small

ACTIVATIONS = ("tanh", None, "elu", "softplus", "relu", "gelu", "sigmoid", "leaky_relu")


def large(least):
    """Whether height and width are at least this much."""
    return lambda x: min(x.shape[:-1]) >= least


def _taps(x, pick, dims):
    """Kernel size, and options that leave at least one position."""
    kernel = pick(1, 3, 2) if dims < 3 else pick(1, 2)
    # Keras runs no convolution that is both dilated and strided.
    strides, dilation = pick((None, None), (None, None), (2, None), (None, 2))
    padding = pick("same", "valid") if (kernel - 1) * (dilation or 1) < min(x.shape[:-1]) else "same"
    return kernel, options(strides=strides, padding=padding, dilation_rate=dilation)


def _common(pick):
    return options(activation=pick(*ACTIVATIONS), use_bias=pick(None, False))


def _convolution(program, x, pick, name, dims):
    filters, groups = pick(2, 3, 4, 5, 6), None
    kernel, taps = _taps(x, pick, dims)
    rest = _common(pick)
    divisors = [n for n in (2, 3) if x.channels % n == 0 and filters % n == 0]
    if divisors and pick(False, False, True):
        groups = divisors[-1]
    elastic = "same" in taps
    return program.layer(f"layers.{name}({filters}, {kernel}{taps}{rest}{options(groups=groups)})", x, elastic=elastic)


@operation(rank=3)
def conv2d(program, x, pick):
    _convolution(program, x, pick, "Conv2D", 2)


@operation(rank=2)
def conv1d(program, x, pick):
    if pick(False, False, True):
        dilation = pick(None, 2)
        program.layer(f"layers.Conv1D({pick(2, 3, 5)}, 2, padding='causal'{options(dilation_rate=dilation)})", x)
    else:
        _convolution(program, x, pick, "Conv1D", 1)


@operation(rank=4)
def conv3d(program, x, pick):
    _convolution(program, x, pick, "Conv3D", 3)


def _depthwise(program, x, pick, name):
    kernel, taps = _taps(x, pick, 2)
    program.layer(f"layers.{name}({kernel}{taps}{options(depth_multiplier=pick(None, 2))}{_common(pick)})", x)


@operation(rank=3)
def depthwise_conv2d(program, x, pick):
    _depthwise(program, x, pick, "DepthwiseConv2D")


@operation(rank=2)
def depthwise_conv1d(program, x, pick):
    _depthwise(program, x, pick, "DepthwiseConv1D")


def _separable(program, x, pick, name):
    filters = pick(2, 3, 4, 5)
    kernel, taps = _taps(x, pick, 2)
    depth = options(depth_multiplier=pick(None, 2))
    program.layer(f"layers.{name}({filters}, {kernel}{taps}{depth}{_common(pick)})", x)


@operation(rank=3)
def separable_conv2d(program, x, pick):
    _separable(program, x, pick, "SeparableConv2D")


@operation(rank=2)
def separable_conv1d(program, x, pick):
    _separable(program, x, pick, "SeparableConv1D")


@operation(rank=(2, 3, 4))
def transposed_conv(program, x, pick):
    filters, kernel, padding = pick(2, 3, 4), pick(1, 2, 3), pick("same", "valid")
    strides = pick(None, 2) if small(*[2 * n + 3 for n in x.shape[:-1]], filters) else None
    name = f"Conv{x.rank - 1}DTranspose"
    program.layer(f"layers.{name}({filters}, {kernel}{options(strides=strides, padding=padding)}{_common(pick)})", x)


@operation(rank=(1, 2, 3, 4))
def batch_normalization(program, x, pick):
    program.layer(f"layers.BatchNormalization({pick('', 'scale=False', 'axis=1', 'center=False')})", x)


@operation(rank=(2, 3, 4))
def prelu(program, x, pick):
    every = list(range(1, x.rank))
    program.layer(f"layers.PReLU(alpha_initializer='uniform'{options(shared_axes=pick(every, None, [1]))})", x)


@operation(rank=(2, 3), fits=large(2))
def pooling(program, x, pick):
    # TensorFlow pools no volumes in float64.
    kind, padding = pick("Max", "Average"), pick("valid", "same")
    strides = pick(None, 1)
    program.layer(f"layers.{kind}Pooling{x.rank - 1}D(2{options(strides=strides, padding=padding)})", x)


@operation(rank=(2, 3, 4))
def global_pooling(program, x, pick):
    keepdims = options(keepdims=pick(None, True))[2:]
    program.layer(f"layers.Global{pick('Average', 'Max')}Pooling{x.rank - 1}D({keepdims})", x)


@operation(rank=(2, 3, 4))
def zero_padding(program, x, pick):
    if small(*[n + 2 for n in x.shape[:-1]], x.channels):
        program.layer(f"layers.ZeroPadding{x.rank - 1}D({pick(1, 1)})", x)


@operation(rank=(2, 3, 4), fits=large(3))
def cropping(program, x, pick):
    program.layer(f"layers.Cropping{x.rank - 1}D(1)", x)


@operation(rank=(2, 3, 4))
def upsampling(program, x, pick):
    if small(*[2 * n for n in x.shape[:-1]], x.channels):
        bilinear = options(interpolation=pick(None, "bilinear")) if x.rank == 3 else ""
        program.layer(f"layers.UpSampling{x.rank - 1}D(2{bilinear})", x)


@operation(rank=3)
def resizing(program, x, pick):
    # Resizing is called with training=True by default, and so is then all that comes after it (Keras 3.15).
    program.layer(f"layers.Resizing({pick(3, 4, 5)}, {pick(3, 4)})", x, call=f"{x}, training=False")


@operation(rank=(2, 3, 4))
def spatial_dropout(program, x, pick):
    program.layer(f"layers.SpatialDropout{x.rank - 1}D(0.2)", x)


@operation(rank=(3, 4))
def conv_lstm(program, x, pick):
    sequences = options(return_sequences=pick(None, True), padding=pick("same", None))
    kernel = 1 if min(x.shape[1:-1]) < 2 else pick(1, 2)
    program.layer(f"layers.ConvLSTM{x.rank - 2}D({pick(2, 3)}, {kernel}{sequences})", x)


@operation(rank=3)
def squeeze_excite(program, x, pick):
    kind, hidden = pick(0, 1, 2), pick(2, 3)
    if kind == 0:
        s = program.layer("layers.GlobalAveragePooling2D(keepdims=True)", x)
        s = program.layer(f"layers.Conv2D({hidden}, 1, activation='relu')", s)
        s = program.layer(f"layers.Conv2D({x.channels}, 1, activation='sigmoid')", s)
    else:
        s = program.layer("layers.GlobalAveragePooling2D()", x)
        s = program.layer(f"layers.Dense({hidden}, activation='relu')", s)
        s = program.layer(f"layers.Dense({x.channels}, activation='sigmoid')", s)
        s = (
            program.layer(f"layers.Reshape((1, 1, {x.channels}))", s)
            if kind == 1
            else program.add(f"{s}[:, None, None]", s)
        )
    if pick(True, False):
        program.layer("layers.Multiply()", x, s, call=f"[{x}, {s}]")
    else:
        program.add(f"{s} * {x}", x, s)


@operation(rank=3)
def inverted_residual(program, x, pick):
    y = program.layer(f"layers.Conv2D({pick(4, 5, 6)}, 1, activation='relu6')", x)
    y = program.layer(f"layers.DepthwiseConv2D({pick(3, 2)}, padding='same')", y)
    y = program.layer("layers.BatchNormalization()", y)
    y = program.layer(f"layers.Conv2D({x.channels}, 1)", y)
    program.layer("layers.Add()", x, y, call=f"[{x}, {y}]")


@operation(rank=3, fits=lambda x: x.channels in (4, 6, 8, 12))
def channel_shuffle(program, x, pick):
    *places, channels = x.shape
    groups = pick(2, channels // 2)
    shape = (*places, groups, channels // groups)
    y = program.layer(f"layers.Reshape({shape})", x)
    if pick(True, False):
        y = program.layer("layers.Permute((1, 2, 4, 3))", y)
    else:
        y = program.add(f"ops.swapaxes({y}, -1, -2)", y)
    program.layer(f"layers.Reshape({x.shape})", y)


@operation(rank=3, fits=lambda x: x.channels % 4 == 0)
def depth_to_space(program, x, pick):
    program.add(f"ops.depth_to_space({x}, 2)", x)


@operation(rank=3, fits=lambda x: x.shape[0] % 2 == x.shape[1] % 2 == 0 and x.channels <= 4)
def space_to_depth(program, x, pick):
    program.add(f"ops.space_to_depth({x}, 2)", x)
