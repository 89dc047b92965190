"""Reads TFLite files: their operators, with types and weights, and what quantisation left in float32."""

import dataclasses

import numpy as np

from tfcompress.export.file_content import subgraphs_of

_NOT_COMPUTING = ("QUANTIZE", "DEQUANTIZE")
_FLOAT = "FLOAT32"
_LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
_SMALL = 1024  # TensorFlow's converter leaves weights of fewer numbers in float32 where ranges are found at run time


@dataclasses.dataclass(frozen=True, eq=False)
class Operator:
    """One operator of a TFLite file.

    Attributes:
        name: such as "CONV_2D".
        output: name of its first output tensor, which has the names of the Keras layers.
        is_float: whether it reads or gives float32.
        float_weights: the number of its constant weights of two or more axes that are float32.
        weights: the first of these weights; None if there are none.
        types: names of the types of all its constant inputs of two or more axes, such as ("INT4",).
    """

    name: str
    output: str
    is_float: bool
    float_weights: int
    weights: np.ndarray | None
    types: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Unquantized:
    """An operator that a quantised file computes in float32, or whose weights it stores in float32.

    Attributes:
        operator: its TFLite name.
        tensor: name of its output, which has the names of the Keras layers.
        reason: why.
    """

    operator: str
    tensor: str
    reason: str


def operators_of(content: bytes) -> list[Operator]:
    """Returns the operators of a file, of all its subgraphs, in their order."""
    operators = []
    for graph in subgraphs_of(content):
        for name, read, written in graph.operators():
            inputs, outputs = ([graph.tensors[index] for index in each] for each in (read, written))
            constants = [tensor for tensor in inputs if tensor.rank >= 2 and tensor.is_constant]
            # A sparse tensor is float32 on purpose, and its buffer has no zeros.
            weights = [each.floats() for each in constants if each.type == _FLOAT and not each.is_sparse]
            operators.append(
                Operator(
                    name,
                    outputs[0].name if outputs else "",
                    any(tensor.type == _FLOAT for tensor in (*inputs, *outputs)),
                    sum(array.size for array in weights),
                    weights[0] if weights else None,
                    tuple(tensor.type for tensor in constants),
                )
            )
    return operators


def float_operators(content: bytes) -> tuple[str, ...]:
    """Returns the names of the operators in a file that read or give float32, without quantizing ones.

    The converter leaves operators without an int8 kernel in float32, even if int8 is asked for.
    """
    names = [operator.name for operator in operators_of(content) if operator.is_float]
    return tuple(dict.fromkeys(name for name in names if name not in _NOT_COMPUTING))


def keeps_state(content: bytes) -> bool:
    """Whether a file has fused LSTM operators, whose state goes on from one call to the next."""
    return any(operator.name == _LSTM for operator in operators_of(content))


def unquantized(content: bytes, quantize: str, has_own_recipe: bool = False) -> tuple[Unquantized, ...]:
    """Returns what a quantised file left in float32, and why.

    Args:
        content: the file.
        quantize: the name of its form.
        has_own_recipe: whether a user's recipe made it.
    """
    if quantize in ("float32", "sparse"):
        return ()
    rows = []
    for operator in operators_of(content):
        if operator.name in _NOT_COMPUTING:
            continue
        if quantize in ("int8", "int16x8", "mixed"):
            if operator.is_float:
                rows.append(Unquantized(operator.name, operator.output, _why_float(quantize, has_own_recipe)))
        elif operator.float_weights:
            rows.append(Unquantized(operator.name, operator.output, _why_float_weights(quantize, operator)))
    return tuple(rows)


def _why_float(quantize: str, has_own_recipe: bool) -> str:
    if has_own_recipe:
        return "the recipe leaves it so, or ai-edge-quantizer has no integer form of it"
    maker = "ai-edge-quantizer" if quantize == "mixed" else "TensorFlow's converter"
    return f"{maker} has no {'int16x8' if quantize == 'int16x8' else 'int8'} form of it"


def _why_float_weights(quantize: str, operator: Operator) -> str:
    if quantize == "float16":
        return "its weights stay float32, as TensorFlow's converter stores none of this operator in float16"
    if quantize == "dynamic" and operator.float_weights < _SMALL:
        return f"its {operator.float_weights} weights stay float32: TensorFlow's converter leaves fewer than {_SMALL}"
    maker = "ai-edge-quantizer" if quantize == "int4" else "TensorFlow's converter"
    return f"its weights stay float32: {maker} has no form of it that quantises at run time"
