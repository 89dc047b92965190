"""`WeightMethod`: the common part of methods that change weights and leave the architecture as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from tfcompress.channels import Control
from tfcompress.costs import Cost, CostModel
from tfcompress.costs.budget import Budget
from tfcompress.graph import LayerGraph
from tfcompress.methods import phases
from tfcompress.methods.trained import AutoTaught
from tfcompress.task import Task
from tfcompress.tfmot_bridge import Bridged, Legacy, check_graph, load_tfmot
from tfcompress.tfmot_bridge.sparsity import KERNELS
from tfcompress.training import PhasePlan, Training
from tfcompress.training.teaching import Teaching
from tfcompress.training.thawing import thawed, words_for

__all__ = ["WeightMethod", "clustered_layers", "kernels_of", "pruned_layers", "share_of_zeros", "train_bridged"]

_MANY_ZEROS = 0.2  # of the weights of a layer, which then is a pruned one
_FEW_VALUES = 64  # of a kernel, which then is a clustered one


@dataclasses.dataclass(frozen=True)
class WeightMethod(AutoTaught):
    """A method that is trained through the bridge to tensorflow-model-optimization, by the one `fit`.

    It changes neither multiply-adds nor parameters: what it reaches is a setting, and what it saves is in the file.
    """

    epochs: int = 15

    # How much of the work of a training step the bridge and its wrappers add.
    _MORE: ClassVar[float] = 0.25

    def budget(self, given: Budget) -> Budget:
        """Returns the budget, which may be empty.

        Raises:
            ValueError: it limits what this method does not change.
        """
        if given.planned:
            raise ValueError(
                f"Expected no limit on {', '.join(given.planned)} with method={self.name!r}, which changes weights and "
                f"leaves the architecture. Received: {', '.join(map(given.said, given.planned))}. Say how far it goes "
                "by its own settings, or remove channels first, such as with method='uniform'."
            )
        return given

    def least(self, costs: CostModel, control: Control) -> Cost:
        """Returns the cost of the model itself, which does not change.

        Raises:
            ValueError: a setting of the control that speaks of channels.
        """
        settings = control.settings()
        if channels := {name: value for name, value in settings.items() if name not in ("exclude", "only")}:
            raise ValueError(
                f"Expected no {' or '.join(channels)} for method={self.name!r}, which removes no channels. Received: "
                f"{channels}. `exclude` and `only` say which layers it changes."
            )
        return costs.total

    def check_model(self, task: Task) -> None:
        """Refuses a model with layers that cannot be carried to Keras 2, or with none that this method changes."""
        load_tfmot()
        check_graph(task.network.graph)
        if not self.layers(task):
            raise ValueError(
                f"Expected layers with weights that {self.name!r} changes, which are those of {', '.join(KERNELS)}, "
                f"in `only` and not in `exclude`. Received: model {task.model.name!r} without any."
            )

    def check(self, task: Task) -> None:
        """Refuses hints, and settings of the training that the bridge does not have."""
        super().check(task)
        teaching = self.teaching_for(task)
        if teaching is not None and teaching.hints is not None:
            raise ValueError(
                f"Expected a teaching by soft targets for method={self.name!r}, whose student runs on Keras 2, where "
                "hints do not reach. Received: hints. Leave them out."
            )
        if self.mixed_precision is not None:
            raise ValueError(
                f"Expected mixed_precision=None for method={self.name!r}, whose weights are changed in float32. "
                f"Received: mixed_precision={self.mixed_precision!r}. Leave it out."
            )

    def layers(self, task: Task) -> tuple[str, ...]:
        """Returns the names of the layers that are changed, in the order of the graph."""
        allowed = task.control.layers(task.groups)
        return tuple(name for name in kernels_of(task.network.graph) if name in allowed)

    def phase_plan(self, task: Task, name: str, epochs: int) -> PhasePlan:
        """Returns a training phase, for the estimate of time."""
        return PhasePlan(name, epochs, 1 + self._MORE + phases.cost_of_teacher(self.teaching_for(task)))


def train_bridged(
    student: keras.Model,
    task: Task,
    training: Training,
    phase: str,
    carried: Callable[[LayerGraph], Legacy],
    *,
    teaching: Teaching | None,
    layers: Sequence[str],
    **options: Any,
) -> tuple[dict[str, list[Any]], Legacy]:
    """Trains a student in place through the bridge, on labels and by its teacher.

    Args:
        student: a built model without nested models.
        task: the task.
        training: the settings of the training.
        phase: name of the phase.
        carried: makes the tf_keras model of the student's graph.
        teaching: soft targets; `None` for labels alone.
        layers: names of the layers whose weights are changed, which are trained even if they are frozen.
        options: further arguments of `phases.train_phase`.

    Returns:
        The history, and the tf_keras model as it was trained.
    """
    graph = task.network_of(student).graph
    frozen = [graph.operations[name] for name in layers if not graph.operations[name].trainable]
    if frozen:
        task.say(words_for(frozen))
    with thawed(student, frozen), phases.statistics_keep_up(student, task, training):
        legacy = carried(graph)
        model: keras.Model = Bridged(student, graph, legacy)
        if teaching is not None:
            model = phases.taught(student, task, teaching, runs=model)
        history = phases.train_phase(model, task, training, phase, **options)
    legacy.carry_back()
    return history, legacy


def kernels_of(graph: LayerGraph) -> Mapping[str, tuple[Any, ...]]:
    """Returns the weights that sparsity and clustering change, by layer name, in the order of the graph."""
    kernels = {}
    for name, operation in graph.operations.items():
        wanted = KERNELS.get(type(operation).__name__, ())
        weights = tuple(weight for weight in getattr(operation, "weights", ()) if weight.name in wanted)
        if weights:
            kernels[name] = weights
    return kernels


def pruned_layers(graph: LayerGraph) -> tuple[str, ...]:
    """Returns the layers with many zeros in their weights, such as those that were pruned."""
    return tuple(
        name
        for name, kernels in kernels_of(graph).items()
        if np.mean([np.mean(keras.ops.convert_to_numpy(kernel) == 0) for kernel in kernels]) >= _MANY_ZEROS
    )


def clustered_layers(graph: LayerGraph) -> tuple[str, ...]:
    """Returns the layers whose weights have few values, such as those that were clustered."""

    def is_clustered(kernel: Any) -> bool:
        array = keras.ops.convert_to_numpy(kernel)
        return len(np.unique(array)) <= min(_FEW_VALUES, array.size // 4)

    return tuple(name for name, kernels in kernels_of(graph).items() if all(map(is_clustered, kernels)))


def share_of_zeros(kernels: Mapping[str, tuple[Any, ...]], names: tuple[str, ...]) -> tuple[int, int]:
    """Returns the number of zeros among the weights of the named layers, and the number of these weights."""
    arrays = [keras.ops.convert_to_numpy(weight) for name in names for weight in kernels[name]]
    return sum(int(np.sum(array == 0)) for array in arrays), sum(array.size for array in arrays)
