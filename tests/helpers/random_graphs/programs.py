"""Programs: random models as Python code, which is run line by line while it is written."""

import dataclasses
import math

import keras
import numpy as np

__all__ = ["OPERATIONS", "Pick", "Program", "Step", "Tensor", "operation"]

OPERATIONS = {}
LARGEST = 400  # entries of a tensor, without the batch


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the program: its variable, and its shape without the batch."""

    name: str
    shape: tuple[int, ...]

    @property
    def rank(self):
        return len(self.shape)

    @property
    def channels(self):
        return self.shape[-1]

    def __str__(self):
        return self.name


@dataclasses.dataclass(frozen=True)
class Step:
    """One step as hypothesis draws it: small numbers, of which 0 is the simplest.

    Attributes:
        operation: a name in `OPERATIONS`; a step that fits no tensor is left out.
        operand: which of the tensors that fit it reads, counted from the latest.
        settings: numbers that choose its settings.
        inner: the steps of a nested model.
    """

    operation: str
    operand: int = 0
    settings: tuple[int, ...] = ()
    inner: tuple["Step", ...] = ()


class Pick:
    """Chooses among options by the numbers of a step; the first option once they are used up."""

    def __init__(self, numbers):
        self._numbers = list(numbers)

    def __call__(self, *options):
        number = self._numbers.pop(0) if self._numbers else 0
        return options[number % len(options)]


@dataclasses.dataclass
class _Statement:
    """`targets = maker(call)`, or `targets = call` without a layer."""

    targets: str
    call: str
    layer: str = ""
    maker: str = ""


def operation(rank=None, fits=lambda x: True):
    """Registers a function `(program, x, pick)` that adds lines to a program, or none where it cannot.

    Args:
        rank: ranks of `x` for which it is, without the batch; any by default.
        fits: what else must be true of `x`.
    """
    ranks = (rank,) if isinstance(rank, int) else rank

    def register(function):
        assert function.__name__ not in OPERATIONS, function.__name__
        function.fits = lambda x: (ranks is None or x.rank in ranks) and fits(x)
        OPERATIONS[function.__name__] = function
        return function

    return register


class Program:
    """Lines of Python that build a model; each is run as it is added, so that the next can look at shapes.

    Attributes:
        tensors: what can be read.
        read: names of the tensors that have been.
        siblings: `{name: names}` of tensors that one call gives.
        layers: `(name, shapes, elastic)` of layers that can be called again.
        used: names of the operations in it.
    """

    def __init__(self, prefix="t", outer=None):
        self.prefix, self.tensors, self.read, self.siblings, self.layers = prefix, [], set(), {}, []
        self.inputs = []
        self.statements = outer.statements if outer else []
        self.space = outer.space if outer else {"keras": keras, "layers": keras.layers, "ops": keras.ops, "np": np}
        self.used = outer.used if outer else []

    def input(self, shape, options=""):
        """Adds a `keras.Input`."""
        tensor = self.add(f"keras.Input({shape}{options})")
        self.inputs.append(tensor)
        return tensor

    def add(self, call, *read):
        """Adds `tensor = call`; `read` are the tensors in it."""
        return self._run(_Statement("", call), read, 1)[0]

    def add_several(self, call, *read):
        """Adds `a, b, ... = call`."""
        return self._run(_Statement("", call), read, None)

    def layer(self, maker, *read, call=None, outputs=1, elastic=False):
        """Adds `tensor = maker(*read)`.

        Args:
            maker: what makes the layer.
            read: the tensors it reads.
            call: its arguments, where they are not just the tensors.
            outputs: how many tensors it gives; a list of them if it is not 1.
            elastic: whether it can be called again with other sizes, but for the last one.
        """
        name = f"l{sum(bool(s.layer) for s in self.statements)}"
        self.space[name] = eval(maker, self.space)
        found = self._run(_Statement("", call or ", ".join(map(str, read)), name, maker), read, outputs)
        if len(read) == 1 and outputs == 1 and call is None:
            self.layers.append((name, read[0].shape, elastic))
        return found[0] if outputs == 1 else found

    def call_again(self, name, x):
        """Adds `tensor = name(x)` for a layer that is there."""
        return self._run(_Statement("", str(x), name), (x,), 1)[0]

    def _run(self, statement, read, count):
        expression = f"{statement.layer}({statement.call})" if statement.layer else statement.call
        value = eval(expression, self.space)
        values = [value] if count == 1 else list(value)
        names = [f"{self.prefix}{len(self.tensors) + i}" for i in range(len(values))]
        self.space.update(zip(names, values, strict=True))
        statement.targets = ", ".join(names) + ("," if count != 1 and len(names) == 1 else "")
        self.statements.append(statement)
        self.read.update(tensor.name for tensor in read)
        self.siblings.update(dict.fromkeys(names, names))
        found = [Tensor(name, tuple(v.shape[1:])) for name, v in zip(names, values, strict=True)]
        self.tensors.extend(found)
        return found

    def others(self, x, fits):
        """Tensors beside `x`, the latest first."""
        return [t for t in reversed(self.tensors) if t.name != x.name and fits(t)]

    def take(self, step):
        """Adds what a step says, if there is a tensor for it."""
        function = OPERATIONS[step.operation]
        fitting = [t for t in reversed(self.tensors) if self._is_float(t) and t.rank and function.fits(t)]
        if not fitting:
            return
        before = len(self.statements)
        arguments = (step.inner,) if function.__name__ == "nested" else ()
        function(self, fitting[step.operand % len(fitting)], Pick(step.settings), *arguments)
        if len(self.statements) > before:
            self.used.append(step.operation)

    def _is_float(self, tensor):
        return "float" in keras.backend.standardize_dtype(self.space[tensor.name].dtype)

    @property
    def ends(self):
        """Tensors that nothing reads; the first one where none of several that one call gives is read."""
        found = []
        for tensor in self.tensors:
            names = self.siblings[tensor.name]
            if tensor.name == names[0] and not self.read.intersection(names):
                found.append(tensor)
        return found

    @property
    def lines(self):
        """The program so far. Layers that are called once stand where they are called."""
        called = [s.layer for s in self.statements]
        found, made = [], set()
        for s in self.statements:
            if s.layer and called.count(s.layer) > 1:
                if s.maker and s.layer not in made:
                    found.append(f"{s.layer} = {s.maker}")
                    made.add(s.layer)
                found.append(f"{s.targets} = {s.layer}({s.call})")
            else:
                found.append(f"{s.targets} = {s.maker}({s.call})" if s.maker else f"{s.targets} = {s.call}")
        return found


def small(*shape):
    """Whether a tensor of this shape is small enough for a program."""
    return math.prod(shape) <= LARGEST


def options(**settings):
    """Keyword arguments as text; those that are `None` are left out."""
    return "".join(f", {name}={value!r}" for name, value in settings.items() if value is not None)
