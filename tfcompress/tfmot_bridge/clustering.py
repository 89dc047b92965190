"""Weight clustering by tensorflow-model-optimization on a bridged model."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal

import keras
import numpy as np

from tfcompress.graph import LayerGraph, Node
from tfcompress.tfmot_bridge._tfmot import load
from tfcompress.tfmot_bridge.bridge import Legacy, legacy_of
from tfcompress.tfmot_bridge.carrying import is_shell

__all__ = ["CENTROIDS", "Centroids", "clustered", "number_of_values"]

Centroids = Literal["kmeans++", "linear", "density"]
CENTROIDS = ("kmeans++", "linear", "density")
_NAMES = {"kmeans++": "KMEANS_PLUS_PLUS", "linear": "LINEAR", "density": "DENSITY_BASED"}


def clustered(
    graph: LayerGraph, names: Collection[str], clusters: int, centroids: Centroids, keep_zeros: bool
) -> Legacy:
    """Returns the bridged model in which the weights of each named layer have a few values, which are trained.

    Args:
        graph: the graph of the Keras 3 model.
        names: names of layers with kernels.
        clusters: number of values for each kernel.
        centroids: how the values begin: by k-means++, evenly spread, or by the density of the weights.
        keep_zeros: whether weights that are zero stay zero, which then is one of the values.
    """
    lib = load()
    start = getattr(lib.tfmot.clustering.keras.CentroidInitialization, _NAMES[centroids])
    wrappers: dict[str, Any] = {}

    def wrap(node: Node, layer: Any) -> Any:
        if node.layer_name not in names or is_shell(layer):
            return layer
        wrapper = lib.cluster_weights(
            layer,
            number_of_clusters=clusters,
            cluster_centroids_init=start,
            preserve_sparsity=keep_zeros,
            cluster_gradient_aggregation=lib.GradientAggregation.AVG,  # sums would ask for a rate of their own
        )
        wrapper.build(node.input_shapes[0])  # here, where its masks are numbers and not tensors of a graph
        wrappers[node.layer_name] = wrapper
        return wrapper

    legacy = legacy_of(graph, wrap)
    values: dict[int, Callable[[], Any]] = {}
    for wrapper in wrappers.values():
        for name, original in wrapper.original_clusterable_weights.items():
            own = next(pair.own for pair in legacy.pairs if pair.carried is original)
            values[id(own)] = _reader(wrapper, name)
    return legacy._replace(values=values)


def _reader(wrapper: Any, name: str) -> Callable[[], Any]:
    def value() -> Any:
        wrapper.update_clustered_weights_associations()
        return keras.ops.convert_to_tensor(wrapper.get_weight_from_layer(name)) + 0

    return value


def number_of_values(kernel: Any) -> int:
    """Returns the number of different values of a weight."""
    return len(np.unique(keras.ops.convert_to_numpy(kernel)))
