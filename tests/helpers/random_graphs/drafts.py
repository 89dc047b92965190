"""What hypothesis draws, and how it becomes a program, a model and a plan."""

import dataclasses

import keras
import numpy as np
from hypothesis import strategies as st

from random_graphs.checks import FLOATS, floats
from random_graphs.edits import structural_edits
from random_graphs.programs import OPERATIONS, Program, Step, Tensor
from tfcompress.graph import ChannelGroups, LayerGraph, groups_after
from tfcompress.plan import Plan

__all__ = ["Draft", "Written", "drafts", "write"]

INPUTS = {
    "image": [(3, 3, 2), (4, 4, 3), (4, 6, 4), (5, 4, 3)],
    "vector": [(3,), (4,), (6,)],
    "sequence": [(3, 2), (4, 3), (6, 4)],
    "text": [(4,), (5,)],
    "volume": [(2, 3, 3, 2), (3, 3, 2, 2)],
}
HEAD = """\
import sys

import keras
import numpy as np
from keras import layers, ops

sys.path.insert(0, "tests/helpers")  # run this from the root of the repository
from random_graphs import check

from tfcompress.plan import Plan
"""


@dataclasses.dataclass(frozen=True)
class Draft:
    """A model and a plan in small numbers.

    Attributes:
        inputs: the kind of each input and which of its shapes it has.
        steps: the steps.
        ends: how each tensor that nothing reads becomes an output, and the structure of the outputs.
        cuts: for each group which channels go: bits, 0 for none.
        through_norms: whether streams are cut through normalisation.
        edits: structural edits, see `structural_edits`; 0 for none.
        fresh: whether the student's weights are fresh.
    """

    inputs: tuple[tuple[str, int], ...]
    steps: tuple[Step, ...]
    ends: tuple[int, ...] = ()
    cuts: tuple[int, ...] = ()
    through_norms: bool = False
    edits: tuple[int, ...] = ()
    fresh: bool = False


@dataclasses.dataclass(frozen=True)
class Written:
    """What became of a draft: the program, the model it built, the plan, and the names of the operations in it."""

    program: str
    model: keras.Model
    plan: Plan
    through_norms: bool
    used: tuple[str, ...]


_numbers = st.tuples(*[st.integers(0, 11)] * 7)


@st.composite
def _steps(draw, names):
    name = draw(st.sampled_from(names))
    # Mostly the latest tensor, so that programs are deep.
    operand = draw(st.sampled_from([0, 0, 0, 1, 0, 2, 1, 3]))
    inner = ()
    if name == "nested":
        inner = tuple(draw(st.lists(_steps([n for n in names if n != "nested"]), min_size=1, max_size=3)))
    return Step(name, operand, draw(_numbers), inner)


# Ranks that tensors get to have from inputs of each kind by themselves, and what gives them channels to cut.
_RANKS = {"image": (3, 1), "vector": (1,), "sequence": (2, 1), "text": (2, 1), "volume": (4, 3, 2)}
_STEMS = {
    "image": ("conv2d", "dense", "separable_conv2d", "transposed_conv"),
    "vector": ("dense",),
    "sequence": ("conv1d", "dense", "recurrent", "bidirectional"),
    "text": ("conv1d", "dense", "recurrent"),
    "volume": ("conv3d", "dense", "conv_lstm"),
}


def _names(kind):
    """Operations for a kind of input: more often those for one of its ranks, and those that give channels."""
    samples = [Tensor("x", (4,) * rank) for rank in _RANKS[kind]]
    fitting = [name for name, function in OPERATIONS.items() if any(function.fits(x) for x in samples)]
    return [*_STEMS[kind]] * 3 + 3 * sorted(fitting) + sorted(OPERATIONS)


@st.composite
def drafts(draw, most=12, structural=False):
    """Drafts of at most so many steps, with structural edits or without."""
    kind = draw(st.sampled_from(sorted(INPUTS)))
    inputs = [(kind, draw(st.integers(0, 3)))]
    if draw(st.sampled_from([False, False, False, True])):
        # A second input: of the same shape, or of another kind.
        inputs.append(draw(st.sampled_from([inputs[0], ("vector", 1), ("sequence", 1), ("image", 1)])))
    names, steps = _names(kind), []
    if draw(st.sampled_from([False] + 7 * [True])):
        steps.append(draw(_steps(list(_STEMS[kind]))))
    steps += draw(st.lists(_steps(names), min_size=2, max_size=most))
    ends = draw(st.tuples(*[st.integers(0, 5)] * 4))
    cuts = draw(st.tuples(*[st.integers(0, 63)] * 8))
    through_norms = draw(st.sampled_from([False, False, True]))
    draft = Draft(tuple(inputs), tuple(steps), ends, cuts, through_norms)
    if not structural:
        return draft
    numbers = draw(st.tuples(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60)))
    if draw(st.sampled_from([True, False])):  # removed parts alone, whose students can be compared
        numbers = tuple(3 * number for number in numbers)
    return dataclasses.replace(draft, edits=numbers, fresh=draw(st.sampled_from([False, False, True])))


def write(draft):
    """Writes and builds what a draft says; Keras' names begin anew."""
    keras.backend.clear_session(free_memory=False)  # once a batch is enough: it takes a third of the time
    with floats():
        program = Program()
        for kind, index in draft.inputs:
            shape = INPUTS[kind][index % len(INPUTS[kind])]
            if kind == "text":
                program.layer("layers.Embedding(7, 4)", program.input(shape, ", dtype='int32'"))
            else:
                program.input(shape)
        for step in draft.steps:
            program.take(step)
        structure = _outputs(program, draft.ends)
        inputs = ", ".join(map(str, program.inputs))
        inputs = inputs if len(program.inputs) == 1 else f"[{inputs}]"
        last = f"keras.Model({inputs}, {structure})"
        model = eval(last, program.space)
    groups = ChannelGroups.of(LayerGraph.from_keras(model), draft.through_norms)
    weights = "fresh" if draft.fresh else "inherited"
    with floats():
        edits = structural_edits(model, draft.edits, weights)
        left, _ = groups_after(groups, Plan(edits, weights))
    plan = Plan((*edits, *_plan(left, draft.cuts)), weights)
    kept = {edit.group: edit.indices for edit in plan.channels}
    made = f"Plan.keeping({kept})" if not edits and not draft.fresh else f"Plan.from_json({plan.to_json()!r})"
    lines = [HEAD, f"keras.config.set_floatx({FLOATS!r})", *program.lines, f"model = {last}"]
    lines += [f"plan = {made}", f"check(model, plan, through_norms={draft.through_norms})", ""]
    return Written("\n".join(lines), model, plan, draft.through_norms, tuple(program.used))


def _outputs(program, numbers):
    """Gives each end a head, or none; the outputs in one of three structures."""
    outputs = []
    for index, end in enumerate(program.ends):
        number = numbers[index % len(numbers)] if numbers else 0
        if number == 1 and end not in program.inputs:
            outputs.append(end)
            continue
        if number in (2, 3) and end.rank > 1:
            end = program.layer("layers.Flatten()", end)
        elif number == 4 and end.rank > 1:
            end = program.add(f"ops.mean({end}, axis={tuple(range(1, end.rank))})", end)
        outputs.append(program.layer("layers.Dense(2)", end))
    names = list(map(str, outputs))
    if len(names) == 1:
        return names[0]
    if sum(numbers) % 3 == 2:
        return "{" + ", ".join(f"'out_{name}': {name}" for name in names) + "}"
    return f"[{', '.join(names)}]"


def _plan(groups, numbers):
    """Bit i of a group's number takes its channel i; further ones go by chance. One channel stays at least."""
    kept = {}
    for index, group in enumerate(groups):
        number = numbers[index % len(numbers)] if numbers else 0
        goes = np.random.default_rng(number).random(group.size) < (0.5 if number else 0.0)
        for i in range(min(6, group.size)):
            goes[i] = bool(number >> i & 1)
        if goes.all():
            goes[number % group.size] = False
        if goes.any():
            kept[group.name] = tuple(int(i) for i in np.flatnonzero(~goes))
    return Plan.keeping(kept)
