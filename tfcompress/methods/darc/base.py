"""The common part of DARC and its baselines: units, replacements, imitation, and the students made from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NoReturn

import keras

from tfcompress import expect
from tfcompress.channels import Control
from tfcompress.costs import Budget, Cost, CostModel
from tfcompress.costs.latency import LATENCY
from tfcompress.methods import phases
from tfcompress.methods.darc.choice import exact_choice
from tfcompress.methods.darc.imitation import Imitation
from tfcompress.methods.darc.latency import check_by_measuring, is_wanted, latency_limit, with_latency
from tfcompress.methods.darc.relaxation import Penalized, Weights, first_weights, relax
from tfcompress.methods.darc.units import ORIGINAL, Choice, CostTable, Unit, known_units
from tfcompress.methods.trained import TrainedMethod
from tfcompress.plan import Trail
from tfcompress.replacements import Replacement, by_name
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import Constant, PhasePlan, Training
from tfcompress.training.thawing import cut_layers, thawed, to_thaw

__all__ = ["Replacing", "refuse", "words_for"]

_UNITS = ("layer", "bottleneck", "block")
_IMITATION = "imitation"
_PAPER: Mapping[str, Any] = {
    "replacements": ("3x3DS", "1x1FC", "3x3+1x1"),
    "unit": "layer",
    "imitation_epochs": 1,  # for ImageNet "only 1000 batches"
    "imitation_optimizer": "sgd",
    "imitation_rate": None,  # 0.1 of "sgd"; another rate where that is overruled
    "blocks": 10,  # decided: the paper goes on until one alternative is left everywhere
    "block_epochs": 20,
    "learning_rate": 0.01,
    "growth": 2.0,
    "rate_decay": 0.5,
    "mixup": 1.0,
    "weighting": "simplex",
    "alpha_rate": 1.0,
    "epochs": 20,
    "schedule": "cosine",  # decided
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 1e-4,
    "keep": "last",
    "teach": None,
}
_NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "resnet-cifar10": {"batch_size": 256},
    "wide-resnet-cifar10": {"batch_size": 128},
    "resnet-imagenet": {"batch_size": 64, "block_epochs": 10},
    "resnet50-imagenet": {"batch_size": 32, "block_epochs": 10, "unit": "bottleneck"},
}
_SAMPLES = 256  # by which replacements are worked out that need what a layer reads


@dataclasses.dataclass(frozen=True)
class Replacing(TrainedMethod):
    """Settings of a method that replaces layers by cheaper ones; `as_published` has those of DARC's paper.

    Attributes:
        epochs: epochs of fine-tuning.
        batch_size: images in a batch; 256 for ResNets, 128 for WideResNets in the paper.
        learning_rate: initial learning rate of fine-tuning, and of joint training.
        replacements: the possible replacements of a unit: names (docs/replacements.md lists them), or your own objects.
            Those that do not fit a unit, or are not cheaper than it, are left out there.
        unit: the parts that are replaced as a whole: "layer", "bottleneck", "block", or names. "layer": each
            convolution, dense or recurrent layer that a replacement fits. "bottleneck": in residual blocks of at least
            three convolutions, everything from the first to the last; "block": the same for at least two; other layers
            are units of their own. Or names of layers, and tuples of the nodes of regions.
        imitation_epochs: epochs in which replacements learn to give the same outputs as the originals.
        imitation_optimizer: "adam", or "sgd" as in the paper, which diverges if layers read large numbers.
        imitation_rate: learning rate of that optimizer; `None`: 0.01 for "adam", 0.1 for "sgd".
        latency_batch: samples in one invocation when latency is measured.
        latency_threads: threads of the interpreter that measures latency.
    """

    epochs: int = 20
    batch_size: int = 256
    learning_rate: float | None = 0.01
    schedule: Any = "cosine"
    nesterov: bool = True
    replacements: tuple[str | Replacement, ...] = ("3x3DS", "1x1FC", "3x3+1x1")
    unit: str | tuple[str | tuple[str, ...], ...] = "layer"
    imitation_epochs: int = 1
    imitation_optimizer: Literal["adam", "sgd"] = "adam"
    imitation_rate: float | None = None
    latency_batch: int = 1
    latency_threads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.number, "learning_rate", above=0)
        expect.settings(self, expect.each, "replacements", check=_replacement, what="replacements", empty=False)
        names = [by_name(item).name for item in self.replacements]
        if len(set(names)) < len(names) or ORIGINAL in names:
            expect.refuse("replacements", f"replacements with names of their own, none of them {ORIGINAL!r}", names)
        object.__setattr__(self, "unit", _unit(self.unit))
        expect.settings(self, expect.whole, "imitation_epochs")
        expect.settings(self, expect.one_of, "imitation_optimizer", options=("adam", "sgd"))
        expect.settings(self, expect.whole, "latency_batch", "latency_threads", least=1)
        expect.settings(self, expect.number, "imitation_rate", above=0, or_none=True)

    kind: ClassVar[str] = "layers"
    controlled_by: ClassVar[tuple[str, ...] | None] = ("exclude", "only")
    plans_latency: ClassVar[bool] = False  # its pieces are measured with their replacements
    fast: ClassVar[Mapping[str, Any]] = {"epochs": 5}

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """The settings for each network of DARC's paper (section 5, appendix A), as far as the method has them."""
        own = {field.name for field in dataclasses.fields(cls)}
        return {
            network: {name: value for name, value in {**_PAPER, **settings}.items() if name in own}
            for network, settings in _NETWORKS.items()
        }

    # What is replaced.

    def units(self, costs: CostModel, control: Control) -> tuple[Unit, ...]:
        """Returns the units of a model.

        Raises:
            ValueError: there are none, or names in `unit` are not a region.
        """
        if set(control.settings()) - {"exclude", "only"}:
            raise ValueError(
                f"Expected no ratio_limits, round_to or through_norms for method={self.name!r}, which replaces layers "
                f"and keeps their channels. Received: {control.settings()}. exclude= and only= name the layers."
            )
        units = known_units(
            costs, [by_name(item) for item in self.replacements], self.unit, control.layers(costs.groups)
        )
        if not units:
            names = [by_name(item).name for item in self.replacements]
            raise ValueError(
                f"Expected a model with layers that one of {names} could replace, each called once. Received: "
                f"{costs.groups.graph.name!r}, which has none. Give other replacements= (docs/replacements.md), or "
                "use a method that removes channels, such as 'uniform'."
            )
        return units

    advice = "That is the cheapest combination of replacements; give cheaper replacements= to go below it."

    def budget(self, given: Budget) -> Budget:
        """Returns the budget; latency alone is enough here, because a measured table lets the method plan for it."""
        if not given:
            raise ValueError(
                "Expected a budget. Received none of `flops_budget`, `params_budget` and `latency_budget`, and no "
                "`budget`. Pass for example flops_budget=0.5 for half the FLOPs."
            )
        return given if given.measured == (LATENCY,) else super().budget(given)

    def table(self, task: Task, units: Sequence[Unit], minimize: str | None = None) -> CostTable:
        """Returns the cost of the task's network with any choice, including latency if it is asked for."""
        table = CostTable.of(units, task.costs.total)
        if not is_wanted(task, minimize):
            return table
        return with_latency(table, units, task, self.latency_batch, self.latency_threads)

    @staticmethod
    def limits(task: Task, table: CostTable) -> dict[str, float]:
        """Returns the limits of the finished model, including that of latency."""
        return {**task.limits, **latency_limit(task, table)}

    def least(self, costs: CostModel, control: Control) -> Cost:
        """Returns the lowest cost of each metric, with the cheapest alternative of every unit."""
        table = CostTable.of(self.units(costs, control), costs.total)
        macs, params, size, *others = (int(table.lowest(metric)) for metric in table.whole)
        return Cost(macs, params, size, dict(zip(list(table.whole)[3:], others, strict=True)))

    def cheapest(self, costs: CostModel, control: Control, metrics: Sequence[str]) -> str:
        """Returns a sentence on the cheapest choice by each metric."""
        table = CostTable.of(self.units(costs, control), costs.total)
        return "".join(f" The cheapest in {metric}: {words_for(table.cheapest(metric))}." for metric in metrics)

    def check_model(self, task: Task) -> None:
        """Refuses a model without layers to replace, and limits that no choice can meet together."""
        table = self.table(task, self.units(task.costs, task.control))
        limits = self.limits(task, table)
        if LATENCY in limits and limits[LATENCY] < table.lowest(LATENCY):
            lowest, whole = table.lowest(LATENCY), table.whole[LATENCY]
            raise ValueError(
                f"Expected a latency that can be reached: at least {lowest / whole:.4f} of the original ({lowest:.3f} "
                f"of {whole:.3f} ms). Received: {task.budget.said(LATENCY)}. {self.advice} "
                f"The cheapest in {LATENCY}: {words_for(table.cheapest(LATENCY))}."
            )
        equal = {unit: dict.fromkeys(costs, 0.0) for unit, costs in table.parts.items()}
        if len(limits) > 1 and exact_choice(table, equal, limits) is None:
            refuse(limits)

    def check(self, task: Task) -> None:
        """Refuses a teaching that does not fit, hints of layers that may be replaced, and a latency that the cheapest
        choice exceeds by far when it is measured.
        """
        units = self.units(task.costs, task.control)
        if self.teaching is not None:
            nodes = [] if self.teaching.hints is None else [node for unit in units for node in unit.part.nodes]
            phases.check_teaching(self.teaching, task, replaced=nodes)
        if LATENCY in task.budget:
            check_by_measuring(self.table(task, units), units, task, self.latency_batch, self.latency_threads)

    # What is trained.

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Imitation, and fine-tuning."""
        share = phases.share_of_macs(task)
        teacher = phases.cost_of_teacher(self.teaching)
        return (self.imitation_phase(), PhasePlan("fine-tuning", self.epochs, max(share, 0.1) + teacher))

    def imitation_phase(self) -> PhasePlan:
        """One forward pass of the source, and a training step of the much smaller replacements."""
        return PhasePlan(_IMITATION, self.imitation_epochs, 0.7)

    def imitate(self, task: Task, units: Sequence[Unit]) -> tuple[Weights, dict[str, list[Any]]]:
        """Returns the weights of the source and of all replacements, which have learned the originals' outputs."""
        task.progress.doing(f"adding replacements to {len(units)} parts, and computing their initial weights")
        everything = {unit.name: unit.alternatives for unit in units}
        relaxed = relax(
            task.network,
            units,
            everything,
            Penalized({unit.name: dict.fromkeys(unit.alternatives, 0.0) for unit in units}),
        )
        inputs = task.splits.calibration.take(_SAMPLES)[0]
        weights = first_weights(task.network, relaxed, inputs, task.rng(Stream.FRESH_WEIGHTS))
        learners = [entry for entry in relaxed.learners() if any(layer.trainable_variables for layer in entry[2])]
        history: dict[str, list[Any]] = {}
        if learners and self.imitation_epochs:
            rate = self.imitation_rate or (0.01 if self.imitation_optimizer == "adam" else 0.1)
            training = Training(
                epochs=self.imitation_epochs,
                batch_size=self.batch_size,
                learning_rate=rate,
                optimizer=self.imitation_optimizer,
                weight_decay=0.0,
            )
            model = Imitation(task.network, learners)
            history = phases.train_phase(model, task, training, _IMITATION, schedule=Constant(rate))
            relaxed.store(weights)
        weights.alpha = {}
        return weights, {f"{_IMITATION}: {name}": values for name, values in history.items()}

    def fine_tune(self, student: keras.Model, trail: Trail, task: Task, phase: str) -> dict[str, list[Any]]:
        """Trains a student in place, including frozen layers whose weights changed."""
        network = task.network_of(student)
        how: dict[str, Any] = {"teaching": self.teaching, "keep": self.keep}
        with thawed(student, to_thaw(network, cut_layers(task.groups.graph, network, trail))):
            return phases.train_student(student, task, self.training, phase, **how)


def words_for(choice: Choice) -> str:
    """Returns how many units became which alternative, such as "3 of 19 units stay as they are, 16 become 3x3+1x1"."""
    counts: dict[str, int] = {}
    for alternative in choice.values():
        counts[alternative] = counts.get(alternative, 0) + 1
    kept = counts.pop(ORIGINAL, 0)
    became = [f"{count} become {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1])]
    return ", ".join([f"{kept} of {len(choice)} units stay as they are", *became])


def refuse(limits: Mapping[str, float]) -> NoReturn:
    """Refuses limits that cannot be met together.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"Expected a budget that some combination of replacements can meet. Received: {dict(limits)}"
        + (", each of which can be met, but not all at once" if len(limits) > 1 else ", which no combination met")
        + ". Give a larger share."
    )


def _replacement(name: str, value: Any) -> Any:
    by_name(value)
    return value


def _unit(value: Any) -> Any:
    if isinstance(value, str):
        return expect.one_of("unit", value, _UNITS)
    what = f"one of {_UNITS}, or names of layers and tuples of names"
    entries = expect.each("unit", value, check=_names, what=what, empty=False)
    return tuple(entries)


def _names(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return expect.text(name, value, "the name of a layer")
    return expect.each(name, value, check=expect.text, what="names of the nodes of a region", empty=False, unique=True)
