"""Carries single layers and operations of Keras 3 to tf_keras, with the same weights.

A layer whose class tf_keras has too becomes a layer of that class, which tensorflow-model-optimization knows.
Everything else (operators such as `x + 1`, operations of `keras.ops`, layers that tf_keras lacks or computes in another
way, layers of the user's own) runs as itself inside a `Shell`, a tf_keras layer that calls it.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import re
import weakref
from typing import Any

import keras

from tfcompress.graph import Node, TensorRef
from tfcompress.graph.run import call as call_node
from tfcompress.tfmot_bridge._tfmot import load

__all__ = ["CANNOT", "CARRIED", "CannotBeCarried", "check_node", "is_shell", "legacy_layer", "shell_class", "shell_for"]

CARRIED = (
    *("Dense", "Embedding", "LSTM", "GRU", "SimpleRNN", "BatchNormalization"),
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"),
    *("Flatten", "Reshape", "Permute", "RepeatVector"),
    *(f"{kind}{rank}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for rank in (1, 2, 3)),
    *(f"{kind}Pooling{rank}D" for kind in ("Max", "Average", "GlobalMax", "GlobalAverage") for rank in (1, 2, 3)),
)
"""The classes that are carried to the tf_keras class of the same name."""

CANNOT = "a mask (Masking, Embedding with mask_zero=True), half precision, or an activity regularizer"
"""What cannot be carried, in words."""

# Activations that compute the same in Keras 2 and 3; any other is given to the layer as a function.
_ACTIVATIONS = frozenset(
    ("linear", "relu", "relu6", "sigmoid", "tanh", "softmax", "elu", "selu", "softplus", "softsign", "exponential")
)
# What lies in variables and their wrappers, or decides only how a layer begins or how fast it is.
_DROPPED = re.compile(r".*_(initializer|regularizer|constraint)$|dtype|seed|use_cudnn|build_config|trainable")
_RECURRENT = ("LSTM", "GRU", "SimpleRNN")
_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
_numbers = itertools.count()
_calls: weakref.WeakValueDictionary[int, Node] = weakref.WeakValueDictionary()  # each is held by its shells


class CannotBeCarried(TypeError):
    """A layer cannot be carried to tf_keras; the message names it."""


def check_node(node: Node) -> None:
    """Refuses a call that tf_keras could not repeat.

    Raises:
        CannotBeCarried: it passes a mask, computes in half precision, or regularizes its output.
    """
    operation, reason = node.operation, ""
    policy = getattr(operation, "compute_dtype", "float32")
    masks = isinstance(operation, keras.layers.Masking) or getattr(operation, "mask_zero", False)
    if masks or node.kwargs.get("mask") is not None:
        reason = "a mask"
    elif "float" in str(policy) and policy != "float32":
        reason = f"computes in {policy}"
    elif getattr(operation, "activity_regularizer", None) is not None:
        reason = "an activity regularizer"
    if reason:
        raise CannotBeCarried(
            "Expected layers that can be carried to Keras 2, which tensorflow-model-optimization is written for: none "
            f"with {CANNOT}. Received: layer {node.layer_name!r} ({node.type_name}), {reason}. Use another method, or "
            "build the model without it."
        )


def legacy_layer(node: Node) -> Any:
    """Returns the tf_keras layer of the same class, settings and weights, built; `None` where tf_keras has none.

    Args:
        node: the first call of a layer.
    """
    operation, name = node.operation, node.type_name
    settings = _settings(operation, name) if _may_be_carried(node) else None
    if settings is None:
        return None
    layer = getattr(load().keras.layers, name)(**settings, name=legal_name(node.layer_name))
    shapes = list(node.input_shapes)
    layer.build(shapes[0] if len(shapes) == 1 else shapes)
    own = [keras.ops.convert_to_numpy(weight) for weight in operation.weights]
    if [weight.shape for weight in own] != [tuple(weight.shape) for weight in layer.weights]:
        return None
    layer.set_weights(own)
    layer.trainable = getattr(operation, "trainable", True)
    return layer


def _may_be_carried(node: Node) -> bool:
    name = node.type_name
    return name in CARRIED and type(node.operation) is getattr(keras.layers, name) and _is_plain(node)


def legal_name(name: str) -> str:
    """Returns a name in the letters that tf_keras allows."""
    name = re.sub(r"[^A-Za-z0-9_.\-]", "_", name)
    return name if name[0].isalnum() or name[0] == "." else f"layer{name}"


def _is_plain(node: Node) -> bool:
    """Whether a call has tensors in its first argument alone, and no other argument that matters."""
    rest = (node.args[1:], {key: value for key, value in node.kwargs.items() if key != "training"})
    others = [leaf for leaf in keras.tree.flatten(rest) if leaf is not None and leaf is not False]
    first = node.args[0] if node.args else None
    listed = isinstance(first, (TensorRef, list, tuple)) and all(
        isinstance(leaf, TensorRef) for leaf in keras.tree.flatten(first)
    )
    return listed and not others


def _settings(layer: Any, name: str) -> dict[str, Any] | None:
    """Returns a layer's config as keywords of the tf_keras class; `None` if one of them has no meaning there."""
    settings: dict[str, Any] = {}
    config = {_RENAMED.get(name, {}).get(key, key): value for key, value in layer.get_config().items()}
    taken = set(inspect.signature(getattr(load().keras.layers, name).__init__).parameters)
    defaults = inspect.signature(type(layer).__init__).parameters
    if name in _RECURRENT:
        if layer.dropout or layer.recurrent_dropout:
            return None  # its random numbers would not be those of the run's seed
        taken |= {"go_backwards", "unroll", "return_sequences", "return_state", "zero_output_for_mask"}
    if name == "BatchNormalization":
        settings["fused"] = False  # the fused kernel rounds differently, and corrects the moving variance
    for key, value in config.items():
        if key == "name" or _DROPPED.fullmatch(key):
            continue
        if "activation" in key and value is not None and key != "activity_regularizer":
            function = getattr(layer, key)
            settings[key] = value if isinstance(value, str) and value in _ACTIVATIONS else function
        elif key in taken or (key == "pool_size") or key in _pooling_keys(name):
            settings[key] = value
        elif value not in (None, False, "channels_last") and not (key in defaults and value == defaults[key].default):
            return None
    return settings


def _pooling_keys(name: str) -> tuple[str, ...]:
    return ("keepdims", "data_format") if name.startswith("Global") else ()


@functools.cache
def shell_class() -> Any:
    """Returns the class of `Shell` layers, which needs tf_keras."""

    class Shell(load().keras.layers.Layer):  # type: ignore[misc]
        """Calls an operation of Keras 3, with all its arguments, on the tensors that it is given.

        Its variables are those of the operation itself, so what is trained is trained in place.

        Args:
            number: the number by which the bridge knows the call; a copy of the layer calls the same operation.
        """

        def __init__(self, number: int, **settings: Any) -> None:
            super().__init__(**settings)
            self.number = number
            self.node = _calls[number]
            self.held = [variable.value for variable in getattr(self.node.operation, "variables", ())]

        def call(self, inputs: Any, training: Any = None) -> Any:
            node = self.node
            refs = list(dict.fromkeys(node.inputs))
            given = dict(zip(refs, inputs if isinstance(inputs, (list, tuple)) else [inputs], strict=True))
            # As in a Functional model, whatever the call says.
            is_trained = getattr(node.operation, "_call_has_training_arg", False)
            outputs = call_node(node, given.__getitem__, **({"training": training} if is_trained else {}))
            return outputs[0] if len(outputs) == 1 else outputs

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "number": self.number}

    return Shell


def is_shell(layer: Any) -> bool:
    """Whether a tf_keras layer runs a Keras 3 operation."""
    return isinstance(layer, shell_class())


def shell_for(node: Node) -> Any:
    """Returns a new `Shell` for one call of an operation."""
    number = next(_numbers)
    _calls[number] = node
    return shell_class()(number, name=legal_name(node.name.replace("@", "_call_")))
