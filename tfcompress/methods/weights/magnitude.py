"""`Magnitude`: the smallest weights become zero while the network is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from tfcompress import expect
from tfcompress.export import convert, sparse_tensors
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.registry import register_method
from tfcompress.methods.weights.base import WeightMethod, kernels_of, share_of_zeros, train_bridged
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.tfmot_bridge import sparsity as sparsity_lib
from tfcompress.tfmot_bridge.sparsity import PATTERNS, Pattern, Pruning
from tfcompress.training import PhasePlan, seed_layers

__all__ = ["Magnitude"]

_PRUNING = "pruning"


@register_method("magnitude")
@dataclasses.dataclass(frozen=True)
class Magnitude(WeightMethod):
    """Sets the smallest weights of each layer to zero, more and more of them, and trains the others.

    Zhu and Gupta (2017), "To prune, or not to prune": while the network is trained, the share of zeros rises from
    `initial_sparsity` to `sparsity` along a cubic schedule, Equation (1). Then the zeros stay, and the rest is
    fine-tuned.

    Attributes:
        sparsity: share of the weights of each layer that are zero at the end; with `pattern="2:4"` it is one half.
        pattern: which weights become zero together. `"any"`: each by itself. `"2:4"`: of every four consecutive input
            weights two. `"block"`: blocks of Dense kernels, by the mean of their magnitudes; other layers as with
            `"any"`. `"xnnpack"`: pointwise convolutions alone, in a network that XNNPACK computes sparsely.
        block: rows (inputs) and columns (outputs) of a block; `(4, 1)` is what TFLite stores as a block.
        initial_sparsity: share of zeros after the first change of the masks.
        pruning_epochs: epochs in which the share rises.
        updates: number of changes of the masks, evenly spread over these epochs.
        epochs: epochs of fine-tuning after that.

    Raises:
        TypeError, ValueError: a setting has another type, is out of range, or has no effect.
    """

    sparsity: float = 0.75
    pattern: Pattern = "any"
    block: tuple[int, int] = (4, 1)
    initial_sparsity: float = 0.0
    pruning_epochs: int = 10
    updates: int = 100

    kind: ClassVar[str] = "sparsity"
    when: ClassVar[str] = "a file of a third of the size, where the architecture has to stay"
    fast: ClassVar[Mapping[str, Any]] = {"epochs": 3, "pruning_epochs": 2}

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.number, "sparsity", above=0, below=1)
        expect.settings(self, expect.one_of, "pattern", options=PATTERNS)
        expect.settings(self, expect.each, "block", check=expect.whole, what="two sizes such as (4, 1)", least=1)
        expect.settings(self, expect.number, "initial_sparsity", at_least=0, below=1)
        expect.settings(self, expect.whole, "pruning_epochs", "updates", least=1)
        if len(self.block) != 2:
            expect.refuse("block", "two sizes such as (4, 1)", self.block)
        if self.pattern != "block":
            expect.unused(self, ["block"], f"with pattern={self.pattern!r}")
        if self.pattern == "2:4":
            expect.unused(self, ["sparsity", "initial_sparsity"], "with pattern='2:4', where two of four are zero")
        elif self.initial_sparsity > self.sparsity:
            expect.refuse("initial_sparsity", f"a share up to sparsity={self.sparsity}", self.initial_sparsity)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """The example that Zhu and Gupta published with their code (TensorFlow's contrib/model_pruning): a network for
        CIFAR-10 from no zeros to 90% in 90,000 steps of 128 images, which are 230 epochs. The masks change every 100
        steps, the least of the 100 to 1,000 between which the paper found no difference. Decided: the rate, and the
        epochs of fine-tuning.
        """
        schedule = {"sparsity": 0.9, "initial_sparsity": 0.0, "pruning_epochs": 230, "updates": 900}
        return {"cnn-cifar10": {**schedule, "epochs": 15, "batch_size": 128, "teach": None, "keep": "last"}}

    def layers(self, task: Task) -> tuple[str, ...]:
        """Returns the layers that are pruned."""
        names = super().layers(task)
        operations = task.network.graph.operations
        if self.pattern == "xnnpack":
            names = tuple(name for name in names if _is_pointwise(operations[name]))
        if self.pattern == "2:4":
            names = tuple(name for name in names if type(operations[name]).__name__ in ("Dense", "Conv2D"))
        return names

    def check_model(self, task: Task) -> None:
        """Refuses a network that XNNPACK would not compute sparsely, where that is asked for."""
        super().check_model(task)
        if self.pattern == "xnnpack":
            try:
                sparsity_lib.policy_layers(task.network.graph)
            except ValueError as error:
                reason = " ".join(str(error).split())
                raise ValueError(
                    "Expected a network that XNNPACK computes sparsely for pattern='xnnpack': from a 3x3 convolution "
                    "of three channels with stride 2 (behind ZeroPadding2D(1), padding 'valid') to a "
                    "GlobalAveragePooling2D, with pointwise and depthwise convolutions between them. "
                    f"Received: model {task.model.name!r}: {reason} Use pattern='any', whose file is as small."
                ) from error

    def check(self, task: Task) -> None:
        """Refuses data of unknown length, which has no schedule."""
        super().check(task)
        if task.splits.train.num_batches(self.batch_size) is None:
            raise ValueError(
                f"Expected training data of a known length for method={self.name!r}, whose schedule counts steps. "
                "Received: a stream without a length. Say it with dataset.apply(tf.data.experimental."
                "assert_cardinality(number))."
            )

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Pruning while training, and fine-tuning."""
        return (
            self.phase_plan(task, _PRUNING, self.pruning_epochs),
            self.phase_plan(task, "fine-tuning", self.epochs),
        )

    def search(self, task: Task) -> Search:
        """Trains a copy of the model while its weights become zero."""
        student = apply(task.model, Plan(), task.groups)
        seed_layers(student, task.seed, Stream.STEP)
        names = self.layers(task)
        training = dataclasses.replace(self.training, epochs=self.pruning_epochs, schedule="constant")
        history, _ = train_bridged(
            student,
            task,
            training,
            _PRUNING,
            lambda graph: sparsity_lib.pruned(graph, names, self._pruning(task)),
            teaching=self.said_teaching_for(task),
            layers=names,
        )
        trail = Trail((Plan(),))
        zeros, weights = share_of_zeros(kernels_of(task.network_of(student).graph), names)
        said = f"{zeros:,} of {weights:,} weights in {len(names)} layers are zero ({zeros / weights:.1%})"
        candidate = Candidate(trail, task.costs.total, origin=said)
        return Search(task.model, trail, (candidate,), history, (said,), student=student)

    def _pruning(self, task: Task) -> Pruning:
        total = self.pruning_epochs * (task.splits.train.num_batches(self.batch_size) or 1)
        every = max(1, total // self.updates)
        final = 0.5 if self.pattern == "2:4" else self.sparsity
        return Pruning(final, self.initial_sparsity, total // every * every, every, self.pattern, self.block)

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the student; what is zero stays zero."""
        names = self.layers(task)
        history, _ = train_bridged(
            student,
            task,
            self.training,
            "fine-tuning",
            lambda graph: sparsity_lib.keeping_zeros(graph, names),
            teaching=self.said_teaching_for(task),
            layers=names,
            keep=self.keep,
        )
        self._deliver(student, task)
        return history

    def _deliver(self, student: keras.Model, task: Task) -> None:
        """Adds the sparse TFLite file, where TFLite takes the model."""
        task.progress.doing("encoding the zeros")
        try:
            content = convert(student, "sparse")
        except ValueError as error:
            task.say(f"No sparse file: {' '.join(str(error).split())}")
            return
        tensors = sparse_tensors(content)
        task.say(f"The sparse file leaves the zeros out of {len(tensors)} tensors; LiteRT puts them back on loading.")
        task.deliver("sparse", content)


def _is_pointwise(operation: Any) -> bool:
    return type(operation).__name__ == "Conv2D" and tuple(operation.kernel_size) == (1, 1)
