"""Methods for tests of flows, small and quick: one that removes a layer, and one that stands for a quantisation.

They are registered nowhere, as other tests list what is.
"""

import dataclasses
from typing import ClassVar

from tfcompress.costs import Budget
from tfcompress.methods import ChannelPruner, Method, Search
from tfcompress.plan import Plan, Trail


@dataclasses.dataclass(frozen=True)
class Drops(ChannelPruner):
    """Removes the layer "second", and fine-tunes."""

    name: ClassVar[str] = "drops"
    kind: ClassVar[str] = "layers"
    controlled_by: ClassVar[tuple[str, ...] | None] = ()

    def least(self, costs, control):
        return costs.of(Plan.without(["second"]))

    def phases(self, task):
        return (self.finetuning_phase(task, self.epochs),)

    def search(self, task):
        return Search(task.model, Trail((Plan.without(["second"]),)), notes=("the layer second is removed",))


@dataclasses.dataclass(frozen=True)
class Rounds(Method):
    """Rounds all weights to sixteenths, and stands for a quantisation.

    Attributes:
        steps: of a one.
    """

    steps: int = 16

    name: ClassVar[str] = "rounds"
    kind: ClassVar[str] = "quantization"
    controlled_by: ClassVar[tuple[str, ...] | None] = ()

    def budget(self, given):
        return given or Budget()

    def least(self, costs, control):
        return costs.total

    def check_model(self, task):
        if "odd" in task.original.name:
            raise ValueError("Expected a model that is not odd. Received: one that is. Take another.")

    def phases(self, task):
        return ()

    def search(self, task):
        return Search(task.model, Trail((Plan(),)))

    def recover(self, student, task):
        for weight in student.weights:
            weight.assign((weight.numpy() * self.steps).round() / self.steps)
        return {}
