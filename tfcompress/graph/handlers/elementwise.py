"""Layers without weights that treat each channel separately: labels pass through."""

from __future__ import annotations

from typing import Any

import keras

from tfcompress.graph.handlers.base import Call, Handler, Width, channel_axis, handles
from tfcompress.graph.handlers.functions import treats_numbers_alone
from tfcompress.graph.labels import Ids, Labels

__all__ = ["GlobalPooling", "PassThrough", "fix_if_mixing"]

_layers = keras.layers

_ELEMENTWISE = {
    keras.activations.get(name)
    for name in [
        "celu",
        "elu",
        "exponential",
        "gelu",
        "hard_shrink",
        "hard_sigmoid",
        "hard_silu",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softplus",
        "softsign",
        "sparse_plus",
        "sparse_sigmoid",
        "squareplus",
        "tanh",
        "tanh_shrink",
        "threshold",
    ]
}


_ELEMENTWISE_LAYERS = (_layers.ReLU, _layers.LeakyReLU, _layers.ELU)


def fix_if_mixing(call: Call, activation: Any, ids: Ids) -> None:
    """Fixes the channels if the activation mixes them (softmax), or treats them by position."""
    if activation is None or activation in _ELEMENTWISE or type(activation) in _ELEMENTWISE_LAYERS:
        return
    if not treats_numbers_alone(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        call.fix(ids, f"activation {name!r} is not known to treat each channel on its own")


@handles(
    _layers.ReLU,
    _layers.LeakyReLU,
    _layers.ELU,
    _layers.Dropout,
    _layers.AlphaDropout,
    _layers.GaussianDropout,
    _layers.GaussianNoise,
    _layers.SpatialDropout1D,
    _layers.SpatialDropout2D,
    _layers.SpatialDropout3D,
    _layers.ActivityRegularization,
    _layers.Identity,
    _layers.MaxPooling1D,
    _layers.MaxPooling2D,
    _layers.MaxPooling3D,
    _layers.AveragePooling1D,
    _layers.AveragePooling2D,
    _layers.AveragePooling3D,
    _layers.ZeroPadding1D,
    _layers.ZeroPadding2D,
    _layers.ZeroPadding3D,
    _layers.Cropping1D,
    _layers.Cropping2D,
    _layers.Cropping3D,
    _layers.UpSampling1D,
    _layers.UpSampling2D,
    _layers.UpSampling3D,
    _layers.Resizing,
)
class PassThrough(Handler):
    """Each output channel is a function of the same input channel."""

    keeps_axes = True

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels pass through, if the channels lie on the axis that the layer treats as channels."""
        labels = call.inputs[0]
        if hasattr(call.layer, "data_format"):
            ids = call.input_along(channel_axis(call.layer, len(call.node.input_shapes[0])))
            if ids is not labels.ids:
                return (Labels(ids, channel_axis(call.layer, len(call.node.output_shapes[0]))),)
        return (labels,)

    def _noise_shape(self, call: Call) -> list[int | None] | None:
        """Returns the shape of the noise, if it has a number per channel."""
        shape = getattr(call.layer, "noise_shape", None)
        axis = call.inputs[0].axis
        return list(shape) if shape is not None and axis < len(shape) and shape[axis] not in (None, 1) else None

    def runs_on_slices(self, call: Call) -> bool:
        """Returns False if the layer's config has the number of channels."""
        return self._noise_shape(call) is None

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Noise of fewer channels."""
        shape = self._noise_shape(call)
        if shape is None:
            return {}
        shape[call.inputs[0].axis] = width(call.inputs[0].ids)
        return {"noise_shape": tuple(shape)}


# Padding, cropping and pooling over one axis have the channels last, and no data format to ask for.


@handles(_layers.Rescaling)
class Rescaling(PassThrough):
    """Scale and offset: one number for all channels, or one per channel."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Passes labels through; lists of scales fix the channels."""
        if any(not isinstance(value, (int, float)) for value in (call.layer.scale, call.layer.offset)):
            call.fix(call.inputs[0].ids, "Rescaling has a scale or an offset for each channel")
        return (call.inputs[0],)


@handles(_layers.Activation)
class Activation(PassThrough):
    """An activation function by name."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Passes labels through; an activation that mixes channels fixes them."""
        fix_if_mixing(call, call.layer.activation, call.inputs[0].ids)
        return (call.inputs[0],)


@handles(_layers.Softmax)
class Softmax(PassThrough):
    """Softmax over one axis or several."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Fixes the channels if it runs over them."""
        labels, axis = call.inputs[0], call.layer.axis
        rank = len(call.node.input_shapes[0])
        axes = axis if isinstance(axis, (tuple, list)) else (axis,)
        if labels.axis in [a % rank for a in axes]:
            call.fix(labels.ids, "Softmax runs over the channels")
        return (labels,)


@handles(
    _layers.GlobalAveragePooling1D,
    _layers.GlobalAveragePooling2D,
    _layers.GlobalAveragePooling3D,
    _layers.GlobalMaxPooling1D,
    _layers.GlobalMaxPooling2D,
    _layers.GlobalMaxPooling3D,
)
class GlobalPooling(Handler):
    """One number per channel."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels move to the last axis, or keep their axis with `keepdims`."""
        axis = channel_axis(call.layer, len(call.node.input_shapes[0]))
        ids = call.input_along(axis)
        return (Labels(ids, axis if call.layer.keepdims else 1),)
