"""Reads the operators of a TensorFlow Lite file, and writes files of some of them with other shapes.

Weights of a written file are seeded noise: latency does not depend on them. A file takes milliseconds, while the
converter takes seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress.litert import names_of

__all__ = ["LiteFile", "Operand", "Operator", "Shaped", "trivial_file", "written"]

_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Operand:
    """A tensor that an operator reads or writes.

    Attributes:
        tensor: its number in the file; -1 for an optional input that is absent.
        shape: its sizes.
        dtype: number of its type in the schema.
        constant: whether its content is in the file.
        integers: the content of a constant of int32, such as the amounts of a padding; else `None`.
    """

    tensor: int
    shape: tuple[int, ...] = ()
    dtype: int = 0
    constant: bool = False
    integers: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator of a file.

    Attributes:
        kind: its name in the schema, such as "CONV_2D".
        settings: its options as text, such as strides and the activation that it includes.
        inputs, outputs: its operands.
        names: names of the tensors that it writes, which name the layers that it computes.
        code, data: the schema's objects, of the opcode and of the operator.
    """

    kind: str
    settings: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    names: tuple[str, ...]
    code: Any
    data: Any

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Inputs and outputs."""
        return self.inputs + self.outputs


@dataclass(frozen=True, eq=False)
class Shaped:
    """An operator with shapes for its operands.

    Attributes:
        operator: the operator.
        shapes: a shape for each operand, inputs first.
        integers: the content for each operand that is a constant of int32, else `None`.
    """

    operator: Operator
    shapes: Sequence[Sequence[int]]
    integers: Sequence[Sequence[int] | None]


class LiteFile:
    """The operators of a TensorFlow Lite file with one subgraph.

    Args:
        content: the file's content.

    Attributes:
        operators: its operators in the order in which they run.
        several: whether the file has further subgraphs (loops and branches), whose operators are not read.
        outputs: numbers of the tensors that the file returns.
    """

    def __init__(self, content: bytes) -> None:
        schema = _schema()
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
        kinds = names_of(schema.BuiltinOperator)
        graph = model.subgraphs[0]
        self.several = len(model.subgraphs) > 1
        self.outputs = tuple(int(index) for index in graph.outputs)

        def operand(index: int) -> Operand:
            if index < 0:
                return Operand(-1)
            tensor = graph.tensors[index]
            shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
            data = model.buffers[tensor.buffer].data
            constant = data is not None and len(data) > 0
            integers = None
            if constant and tensor.type == schema.TensorType.INT32:
                integers = tuple(np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.int32).tolist())
            return Operand(int(index), shape, int(tensor.type), constant, integers)

        def named(index: int) -> str:
            name = graph.tensors[index].name
            return name.decode() if isinstance(name, bytes) else str(name)

        self.operators = tuple(
            Operator(
                kinds[(code := model.operatorCodes[each.opcodeIndex]).builtinCode],
                _settings(each.builtinOptions),
                tuple(operand(int(index)) for index in each.inputs),
                tuple(operand(int(index)) for index in each.outputs),
                tuple(named(int(index)) for index in each.outputs),
                code,
                each,
            )
            for each in graph.operators
        )


def written(parts: Sequence[Shaped]) -> bytes:
    """Returns a file of operators; what they read and none of them writes are its inputs."""
    schema = _schema()
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema.BufferT()], []
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
    made: dict[int, int] = {}
    codes: dict[int, int] = {}

    def tensor(operand: Operand, shape: Sequence[int], content: _Bytes | None) -> int:
        each = schema.TensorT()
        each.shape, each.type, each.name, each.buffer = np.array(shape, np.int32), operand.dtype, "", 0
        each.name = f"tensor_{len(graph.tensors)}"
        if content is not None:
            buffer = schema.BufferT()
            buffer.data = content
            model.buffers.append(buffer)
            each.buffer = len(model.buffers) - 1
        graph.tensors.append(each)
        return len(graph.tensors) - 1

    read: set[int] = set()
    for part in parts:
        data, count = schema.OperatorT(), len(part.operator.inputs)
        data.inputs, data.outputs = [], []
        for operand, shape, integers in zip(part.operator.operands, part.shapes, part.integers, strict=True):
            is_input = len(data.inputs) < count
            if operand.tensor < 0:
                index = -1
            elif operand.constant:
                index = tensor(operand, shape, _content(operand, shape, integers))
            elif operand.tensor in made:
                index = made[operand.tensor]
            else:
                index = made[operand.tensor] = tensor(operand, shape, None)
                if is_input:
                    graph.inputs.append(index)
            if is_input:
                read.add(index)
                data.inputs.append(index)
            else:
                data.outputs.append(index)
        if id(part.operator.code) not in codes:
            codes[id(part.operator.code)] = len(model.operatorCodes)
            model.operatorCodes.append(part.operator.code)
        data.opcodeIndex = codes[id(part.operator.code)]
        data.builtinOptionsType = part.operator.data.builtinOptionsType
        data.builtinOptions = part.operator.data.builtinOptions
        graph.operators.append(data)
    graph.outputs = [index for each in graph.operators for index in each.outputs if index not in read]
    return _packed(model)


def trivial_file() -> bytes:
    """Returns a file that adds two numbers: what it takes, any file takes."""
    schema = _schema()
    code, data = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    data.builtinOptionsType, data.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    number = [Operand(index, (1,), int(schema.TensorType.FLOAT32)) for index in range(3)]
    add = Operator("ADD", "", tuple(number[:2]), tuple(number[2:]), ("sum",), code, data)
    return written([Shaped(add, [(1,)] * 3, [None] * 3)])


def _schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _settings(options: Any) -> str:
    """Returns the options of an operator as JSON."""
    values = {} if options is None else vars(options)
    return json.dumps({name: _plain(value) for name, value in sorted(values.items())})


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return [_plain(entry) for entry in value] if hasattr(value, "__iter__") else repr(value)


def _content(operand: Operand, shape: Sequence[int], integers: Sequence[int] | None) -> _Bytes:
    if integers is not None:
        return np.frombuffer(np.array(integers, np.int32).tobytes(), np.uint8)
    schema = _schema()
    sizes = {schema.TensorType.INT8: 1, schema.TensorType.BOOL: 1, schema.TensorType.INT64: 8}
    size = math.prod(shape)
    if operand.dtype == schema.TensorType.FLOAT32:
        noise = _noise()
        return np.resize(noise, size).view(np.uint8)
    return np.zeros(size * sizes.get(operand.dtype, 4), np.uint8)


@cache
def _noise() -> npt.NDArray[np.float32]:
    """Returns small seeded numbers, none of them denormal."""
    return (np.random.default_rng(0).standard_normal(65_521, np.float32) * 0.05).astype(np.float32)
