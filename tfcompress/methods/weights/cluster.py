"""`Cluster`: the weights of each layer take a few values, which a compressed file stores once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import keras

from tfcompress import expect
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.registry import register_method
from tfcompress.methods.weights.base import WeightMethod, kernels_of, pruned_layers, train_bridged
from tfcompress.plan import Plan, Trail
from tfcompress.task import Task
from tfcompress.tfmot_bridge.clustering import CENTROIDS, Centroids, clustered, number_of_values
from tfcompress.training import PhasePlan

__all__ = ["Cluster"]

_PHASE = "clustering"


@register_method("cluster")
@dataclasses.dataclass(frozen=True)
class Cluster(WeightMethod):
    """Gives the weights of each layer a few values, and trains these values.

    Han, Mao and Dally (2016), "Deep Compression", section 3: weights that share a value learn it together; here by the
    mean of their gradients, so that a value moves as a weight does, where the paper takes the sum. A file that is
    compressed for its way to a device is small, as every value repeats.

    Attributes:
        clusters: number of values in each kernel, zero included.
        centroids: how the values begin: `"kmeans++"`; `"linear"`: evenly between the smallest and the largest weight;
            `"density"`: where many weights are.
        preserve: what the training keeps: `"sparsity"`: weights that are zero stay zero; `"none"`: nothing; `"auto"`:
            the zeros of a network that has many, such as that of the method magnitude.
        epochs: epochs of training.

    Raises:
        TypeError, ValueError: a setting has another type, or is out of range.
    """

    clusters: int = 16
    centroids: Centroids = "kmeans++"
    preserve: Literal["auto", "none", "sparsity"] = "auto"

    stores_search = False
    kind: ClassVar[str] = "clusters"
    when: ClassVar[str] = "a file that is small when it is compressed, where the architecture has to stay"
    fast: ClassVar[Mapping[str, Any]] = {"epochs": 4}

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.whole, "clusters", least=3)
        expect.settings(self, expect.one_of, "centroids", options=CENTROIDS)
        expect.settings(self, expect.one_of, "preserve", options=("auto", "none", "sparsity"))

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """Table 2 of Deep Compression: 6 bits, which are 64 values, in each layer of LeNet-300-100. They begin
        linearly, which was best (section 6.2). Its other networks have 256 values in convolutions and 32 in dense
        layers, which one setting cannot say. Decided: epochs and rate.
        """
        training = {"centroids": "linear", "epochs": 15, "teach": None, "keep": "last"}
        return {"lenet300-mnist": {**training, "clusters": 64}}

    def layers(self, task: Task) -> tuple[str, ...]:
        """Returns the layers that are clustered: those with more weights than values."""
        kernels = kernels_of(task.network.graph)
        return tuple(
            name
            for name in super().layers(task)
            if min(int(keras.ops.size(kernel)) for kernel in kernels[name]) > self.clusters
        )

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """The training."""
        return (self.phase_plan(task, _PHASE, self.epochs),)

    def search(self, task: Task) -> Search:
        """Leaves the architecture as it is."""
        trail = Trail((Plan(),))
        return Search(task.model, trail, (Candidate(trail, task.costs.total, origin="the model itself"),))

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Clusters the weights of the student, and trains the values."""
        names = self.layers(task)
        graph = task.network_of(student).graph
        with_zeros = pruned_layers(graph)
        keeps = self.preserve == "sparsity" or (self.preserve == "auto" and bool(with_zeros))
        if keeps:
            task.say(f"weights that are zero stay zero ({len(with_zeros)} layers have many)")
        history, _ = train_bridged(
            student,
            task,
            self.training,
            _PHASE,
            lambda graph: clustered(graph, names, self.clusters, self.centroids, keeps),
            teaching=self.said_teaching_for(task),
            layers=names,
            keep=self.keep,
        )
        counts = [number_of_values(kernel) for name in names for kernel in kernels_of(graph)[name]]
        task.say(f"the weights of {len(names)} layers have at most {max(counts)} values each")
        return history
