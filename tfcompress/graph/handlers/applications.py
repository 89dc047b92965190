"""Layers that models of `keras.applications` define themselves."""

from __future__ import annotations

from typing import Any

from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from tfcompress.graph.handlers.base import Call, Handler, WeightAxes, Width, handles
from tfcompress.graph.handlers.elementwise import PassThrough
from tfcompress.graph.handlers.merge import ElementwiseMerge
from tfcompress.graph.labels import Labels

__all__ = ["ScaleOfEachChannel"]


@handles(LayerScale)
class ScaleOfEachChannel(Handler):
    """ConvNeXt's layer with a learned factor per channel."""

    keeps_axes = True

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels pass through."""
        return (Labels(call.input_along(-1), len(call.node.input_shapes[0]) - 1),)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """gamma `[channels]`."""
        return (WeightAxes(call.layer.gamma, carries={0: outputs[0].ids}),)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns as many factors as channels."""
        return {"projection_dim": width(outputs[0].ids)}


handles(StochasticDepth)(PassThrough)
handles(CustomScaleLayer)(ElementwiseMerge)  # Inception-ResNet: `a + scale * b`
