"""Prepares recurrent layers for TensorFlow Lite: an LSTM as its one fused operator, other loops step by step.

TensorFlow's converter recognises an LSTM by a function with the attribute `api_implements="lstm_..."`, the arguments
(inputs, initial h, initial c, kernel, recurrent kernel, bias) and five results, of which one of the first two is used;
it replaces the function by UNIDIRECTIONAL_SEQUENCE_LSTM. Keras 2 writes such functions, Keras 3 does not. There is no
such operator for GRU and SimpleRNN.
"""

import types
import uuid
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export.network import copy_of

UNROLLED_STEPS = 128
"""Most steps of a loop that are written one after the other for int8: the converter's time grows with them."""


def fused(network: keras.Model) -> keras.Model:
    """Returns a copy whose LSTM layers are traced as TensorFlow Lite's fused operator; the network itself without any.

    Left as loops: layers with other activations than tanh and sigmoid, that return or keep their state, that are
    called with one, that read a mask, or that are unrolled.
    """
    return _with_inner_loops(network, _can_be_fused, _fused_loop)


def unrolled(network: keras.Model) -> keras.Model:
    """Returns a copy that writes loops of at most `UNROLLED_STEPS` steps one after the other; a fused LSTM stays fused.

    TensorFlow's calibrator reads freed memory on while loops (tensorflow issue 75140), so int8 needs this.
    """
    return _with_inner_loops(network, _is_loop, _unrolled_loop)


def has_fused(network: keras.Model) -> bool:
    """Whether a network has layers that `fused` prepared."""
    return any(map(_is_fused, network._flatten_layers()))


def _with_inner_loops(network: keras.Model, is_meant: Callable[[Any], bool], loop: Callable[..., Any]) -> keras.Model:
    layers = network._flatten_layers()
    if not any(map(is_meant, layers)):
        return network
    copy = copy_of(network)
    for before, layer in zip(layers, copy._flatten_layers(), strict=True):
        if _is_fused(before):
            layer.inner_loop = types.MethodType(_fused_or_unrolled_loop, layer)
        elif is_meant(layer):
            layer.inner_loop = types.MethodType(loop, layer)
    return copy


def _is_fused(layer: Any) -> bool:
    return "inner_loop" in vars(layer)


def _is_loop(layer: Any) -> bool:
    return isinstance(layer, keras.layers.RNN) and not layer.unroll


def _can_be_fused(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.LSTM
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
        and not (layer.unroll or layer.stateful or layer.return_state)
    )


def _unrolled_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
    """Stands for `inner_loop` of a recurrent layer."""
    steps = sequences.shape[1]
    self.unroll = steps is not None and steps <= UNROLLED_STEPS
    try:
        return type(self).inner_loop(self, sequences, initial_state, mask, training=training)
    finally:
        self.unroll = False


def _fused_or_unrolled_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
    """Stands for `inner_loop` of an LSTM."""
    loop = _fused_loop if _fits(initial_state, mask) else _unrolled_loop
    return loop(self, sequences, initial_state, mask, training)


def _fits(initial_state: Any, mask: Any) -> bool:
    return mask is None and all(map(_is_zero, initial_state))


def _fused_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
    """Stands for `inner_loop` of an LSTM."""
    if not _fits(initial_state, mask):
        return type(self).inner_loop(self, sequences, initial_state, mask, training=training)
    bias = tf.zeros(4 * self.units) if self.cell.bias is None else tf.convert_to_tensor(self.cell.bias)
    function = tf.function(
        _lstm(self.go_backwards),
        autograph=False,
        experimental_attributes={
            "api_implements": f"lstm_{uuid.uuid4()}",
            "time_major": False,
            "go_backwards": self.go_backwards,
        },
    )
    kernels = tf.convert_to_tensor(self.cell.kernel), tf.convert_to_tensor(self.cell.recurrent_kernel)
    last, outputs, *states, _ = function(sequences, *initial_state, *kernels, bias)
    return last, outputs, states


def _lstm(go_backwards: bool) -> Callable[..., Any]:
    """Returns the function that the converter replaces; it computes the same in one TensorFlow operation."""

    def lstm(
        inputs: tf.Tensor,  # [batch, steps, channels]
        initial_h: tf.Tensor,
        initial_c: tf.Tensor,
        kernel: tf.Tensor,
        recurrent_kernel: tf.Tensor,
        bias: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        steps = tf.transpose(inputs, (1, 0, 2))
        if go_backwards:
            steps = tf.reverse(steps, (0,))
        nothing = tf.zeros_like(bias[: bias.shape[0] // 4])
        _, cells, _, _, _, _, outputs = tf.raw_ops.BlockLSTM(
            seq_len_max=tf.shape(steps, out_type=tf.int64)[0],
            x=steps,
            cs_prev=initial_c,
            h_prev=initial_h,
            w=_reordered(tf.concat([kernel, recurrent_kernel], 0)),
            wci=nothing,
            wcf=nothing,
            wco=nothing,
            b=_reordered(bias),
            forget_bias=0.0,
            cell_clip=-1.0,  # none
            use_peephole=False,
        )
        return outputs[-1], tf.transpose(outputs, (1, 0, 2)), outputs[-1], cells[-1], tf.constant(0.0)

    return lstm


def _reordered(weights: tf.Tensor) -> tf.Tensor:
    """Returns Keras' gates (input, forget, cell, output) in the order of BlockLSTM (input, cell, forget, output)."""
    i, f, c, o = tf.split(weights, 4, axis=-1)
    return tf.concat([i, c, f, o], axis=-1)


def _is_zero(tensor: Any) -> bool:
    """Whether a state is known to be zeros, for any batch size."""
    value = tf.get_static_value(tensor)
    if value is not None:
        return not np.any(value)
    operation = tensor.op
    return operation.type == "Fill" and _is_zero(operation.inputs[1])
