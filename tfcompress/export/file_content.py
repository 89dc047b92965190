"""Reads the tensors and operators of a TFLite file, of all its subgraphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfcompress.litert import names_of

__all__ = ["FileTensor", "Subgraph", "subgraphs_of"]


class FileTensor:
    """A tensor of a TFLite file.

    Args:
        tensor: the schema's object.
        model: the schema's object of the file.
        types: names of types by their numbers.

    Attributes:
        type: name of its type, such as "FLOAT32".
        rank: number of its axes.
        is_constant: whether the file has its numbers.
    """

    def __init__(self, tensor: Any, model: Any, types: dict[int, str]) -> None:
        self._tensor, self._buffer = tensor, model.Buffers(tensor.Buffer())
        self.type, self.rank = types[tensor.Type()], int(tensor.ShapeLength())
        self.is_constant = bool(self._buffer.DataLength())

    @property
    def name(self) -> str:
        """Its name, which has the names of the Keras layers."""
        return str(self._tensor.Name().decode())

    @property
    def is_sparse(self) -> bool:
        """Whether its zeros are left out of the file."""
        return self._tensor.Sparsity() is not None

    def floats(self) -> np.ndarray:
        """Returns its numbers, float32 `[...]`, of a constant of float32 that is not sparse."""
        numbers: np.ndarray = self._buffer.DataAsNumpy().view(np.float32).reshape(self._tensor.ShapeAsNumpy())
        return numbers


@dataclass(frozen=True, eq=False)
class Subgraph:
    """A subgraph of a TFLite file.

    Attributes:
        graph, model: the schema's objects of the subgraph and of the file.
    """

    graph: Any
    model: Any

    @cached_property
    def tensors(self) -> list[FileTensor]:
        """Its tensors, by their numbers."""
        from ai_edge_litert import schema_py_generated as schema

        types = names_of(schema.TensorType)
        tensors = (self.graph.Tensors(index) for index in range(self.graph.TensorsLength()))
        return [FileTensor(tensor, self.model, types) for tensor in tensors]

    def operators(self) -> Iterator[tuple[str, list[int], list[int]]]:
        """Yields its operators: name, such as "CONV_2D", and numbers of the tensors that each reads and writes."""
        from ai_edge_litert import schema_py_generated as schema

        names = names_of(schema.BuiltinOperator)
        for operator in (self.graph.Operators(index) for index in range(self.graph.OperatorsLength())):
            inputs = [operator.Inputs(place) for place in range(operator.InputsLength())]
            outputs = [operator.Outputs(place) for place in range(operator.OutputsLength())]
            name = names[self.model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()]
            yield name, [index for index in inputs if index >= 0], [index for index in outputs if index >= 0]


def subgraphs_of(content: bytes) -> list[Subgraph]:
    """Returns the subgraphs of a file, in their order."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    return [Subgraph(model.Subgraphs(index), model) for index in range(model.SubgraphsLength())]
