"""`QAT`: training that knows of the rounding to int8, and the int8 file that comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import keras
import numpy as np

from tfcompress import expect
from tfcompress.costs import Budget, FileSize
from tfcompress.costs.budget import share_that_reaches
from tfcompress.costs.file_size import FILE, INT8, file_size
from tfcompress.export import run_tflite
from tfcompress.export.differences import largest_difference, largest_magnitude, top1_agreement
from tfcompress.export.tflite import float_operators, signature_names
from tfcompress.graph import LayerGraph
from tfcompress.litert import numbers
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.registry import register_method
from tfcompress.methods.weights.base import WeightMethod, clustered_layers, pruned_layers, train_bridged
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply
from tfcompress.task import WARNING, Task
from tfcompress.tfmot_bridge import Bridged, Legacy
from tfcompress.tfmot_bridge.quantization import (
    DECAY,
    Preserve,
    calibrated,
    quantized,
    ranges_following,
    tflite_of,
)
from tfcompress.training import PhasePlan
from tfcompress.training.moving_statistics import momentum_of_short_epochs

__all__ = ["QAT"]

_PHASE = "quantization-aware training"
_COMPARED = 64  # samples
_LEAST_AGREEMENT = 0.9  # of the top-1 answers of the file and of the network that rounds


@register_method("qat")
@dataclasses.dataclass(frozen=True)
class QAT(WeightMethod):
    """Trains the network while weights and activations are rounded as in int8, and writes the int8 file.

    Jacob et al. (2018), "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference":
    the forward pass rounds, the gradient passes straight through. The ranges of activations begin with those of some
    calibration samples, and follow the training.

    Attributes:
        preserve: what the training keeps: `"sparsity"`: weights that are zero stay zero; `"clusters"`: kernels of Dense
            and Conv2D layers that have few values have no more of them; `"both"`; `"none"`; `"auto"`: what a network
            has, such as that of the methods magnitude and cluster.
        calibration_samples: samples from which the ranges of activations begin.
        epochs: epochs of training.

    Raises:
        TypeError, ValueError: a setting has another type, or is out of range.
    """

    epochs: int = 10
    preserve: Literal["auto", "none", "sparsity", "clusters", "both"] = "auto"
    calibration_samples: int = 256

    stores_search = False
    kind: ClassVar[str] = "quantization"
    when: ClassVar[str] = "an int8 file where quantizing after training costs too much accuracy"
    fast: ClassVar[Mapping[str, Any]] = {"epochs": 3}

    _MORE: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.one_of, "preserve", options=("auto", "none", "sparsity", "clusters", "both"))
        expect.settings(self, expect.whole, "calibration_samples", least=1)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """Appendix D.1 of Jacob et al.: ResNet on ImageNet in batches of 32 with momentum 0.9, at 1e-5 with a tenth
        every 30 epochs, normally for 100. Decided: calibration samples give the first ranges, where the paper
        leaves activations unrounded for 500,000 steps; the weight decay, of which it has no number.
        """
        steps = {"schedule": "step", "milestones": (30, 60, 90), "reference_epochs": 100, "decay": 0.1}
        training = {"epochs": 100, "batch_size": 32, "learning_rate": 1e-5, "momentum": 0.9, **steps}
        return {"resnet-imagenet": {**training, "teach": None, "keep": "last"}}

    def budget(self, given: Budget) -> Budget:
        """Returns the budget; a limit of the file is one of the int8 file, which is made and measured.

        Raises:
            ValueError: it limits what this method does not change.
        """
        return super().budget(given.only_measuring(FILE) if FILE in given else given)

    def check_model(self, task: Task) -> None:
        """Refuses a model that cannot be quantized, or whose int8 file is above the limit of the budget."""
        super().check_model(task)
        if FILE not in task.budget:
            return
        task.progress.doing("working out the size of the int8 file")
        size, limit = self.file_left(task.network).measured, task.budget[FILE]
        whole = file_size(apply(task.network.model, Plan(), task.groups)) if isinstance(limit, float) else 0.0
        if size > (limit * whole if isinstance(limit, float) else limit):
            share = f", {share_that_reaches(size, int(whole))} of the float32 file" if whole else ""
            raise ValueError(
                f"Expected a size_budget that the int8 file of {task.model.name!r} can meet, which has {size:,} "
                f"bytes{share}. Received: {task.budget.said(FILE)}. Remove channels first, in a flow such as "
                "method=['uniform', 'qat'], which plans for this file."
            )

    def file_left(self, network: Network) -> FileSize:
        """Returns the size of the int8 file, from one that is made without training."""

        def made(model: keras.Model) -> bytes:
            legacy = quantized(LayerGraph.from_keras(model))
            generator = np.random.default_rng(0)
            calibrated(legacy, [[numbers((1, *t.shape[1:]), np.dtype(t.dtype), generator) for t in model.inputs]])
            return tflite_of(legacy, model)

        return FileSize.of(apply(network.model, Plan(), network.groups), network.groups, INT8, made)

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """The training."""
        return (self.phase_plan(task, _PHASE, self.epochs),)

    def search(self, task: Task) -> Search:
        """Leaves the architecture as it is."""
        trail = Trail((Plan(),))
        return Search(task.model, trail, (Candidate(trail, task.costs.total, origin="the model itself"),))

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Trains the student while it is rounded, and delivers the int8 file."""
        preserve = self.preserved(task.network_of(student).graph, task)
        inputs = _flat(task.splits.calibration.take(self.calibration_samples)[0])

        def carried(graph: LayerGraph) -> Legacy:
            task.progress.doing("quantizing")
            legacy = quantized(graph, preserve)
            calibrated(legacy, [inputs])
            return legacy

        # In few steps they would hardly move, as statistics of BatchNormalization would not.
        steps = task.splits.train.num_batches(self.batch_size)
        decay = DECAY if steps is None else momentum_of_short_epochs(DECAY, steps)
        with ranges_following(decay):
            history, legacy = train_bridged(
                student,
                task,
                self.training,
                _PHASE,
                carried,
                teaching=self.said_teaching_for(task),
                layers=self.layers(task),
                keep=self.keep,
            )
        self._deliver(student, legacy, task, [array[:_COMPARED] for array in inputs])
        return history

    def preserved(self, graph: LayerGraph, task: Task) -> Preserve:
        """Returns what the training keeps, and says it."""
        pruned, clustered = pruned_layers(graph), clustered_layers(graph)
        preserve: Preserve = "none" if self.preserve == "auto" else self.preserve
        if self.preserve == "auto" and (pruned or clustered):
            preserve = "both" if pruned and clustered else "sparsity" if pruned else "clusters"
        if preserve in ("sparsity", "both"):
            task.say(f"weights that are zero stay zero ({len(pruned)} layers have many)")
        if preserve in ("clusters", "both"):
            task.say(f"kernels with few values keep to them ({len(clustered)} layers have such)")
        return preserve

    def _deliver(self, student: keras.Model, legacy: Legacy, task: Task, inputs: list[np.ndarray]) -> None:
        """Writes the int8 file, runs it beside the network that rounds, and adds both to the result."""
        task.progress.doing("writing the int8 file and comparing it")
        content = tflite_of(legacy, student)
        names, outputs = signature_names(student)
        answers = run_tflite(content, dict(zip(names, inputs, strict=True)))
        actual = [answers[name] for name in outputs]
        model = Bridged(student, task.network_of(student).graph, legacy)
        given = keras.tree.pack_sequence_as(student.input, inputs)
        expected = [np.asarray(value) for value in keras.tree.flatten(model(given, training=False))]
        share = largest_difference(expected, actual) / max(largest_magnitude(expected), 1e-30)
        agreement = top1_agreement(expected, actual)
        same = "" if agreement is None else f", and {agreement:.1%} of its top-1 answers are the same"
        said = f"The int8 file differs from the network that rounds by up to {share:.2%} of the largest output{same}"
        wrong = not np.isfinite(share) or (agreement is not None and agreement < _LEAST_AGREEMENT)
        task.say(f"{WARNING if wrong else ''}{said} ({len(inputs[0])} samples).")
        if left := float_operators(content):
            task.say(f"The int8 file still computes these operators in float32: {', '.join(left)}.")
        task.say("accuracy and other metrics of the table are those of the float model; export measures the int8 file")
        task.deliver("qat", content)


def _flat(inputs: Any) -> list[np.ndarray]:
    return [np.asarray(array) for array in keras.tree.flatten(inputs)]
