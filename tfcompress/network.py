"""`Network`: a Keras model with its graph, channel groups and costs, read once and shared."""

from __future__ import annotations

from functools import cached_property

import keras

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph

__all__ = ["Network"]


class Network:
    """A Keras model with its graph, channel groups and costs, each made when it is first needed.

    The model's weights may change, but not its layers and their calls. A copy of the model is another network, because
    it has other layers and weights.

    Args:
        model: a built Functional or Sequential model.
        through_norms: for its channel groups, see `ChannelGroups.of`.
        graph: the model's graph, if it has been read already.

    Attributes:
        model: the model.
        through_norms: as given.
    """

    def __init__(self, model: keras.Model, through_norms: bool = False, graph: LayerGraph | None = None) -> None:
        self.model = model
        self.through_norms = through_norms
        if graph is not None:
            self.__dict__["graph"] = graph

    @classmethod
    def of(cls, model: keras.Model | Network, through_norms: bool = False) -> Network:
        """Returns the network of a model; a network is returned unchanged."""
        return model if isinstance(model, Network) else cls(model, through_norms)

    @cached_property
    def graph(self) -> LayerGraph:
        """The model's graph.

        Raises:
            TypeError, ValueError: as for `LayerGraph.from_keras`.
        """
        return LayerGraph.from_keras(self.model)

    @cached_property
    def groups(self) -> ChannelGroups:
        """The channel groups of the graph."""
        return ChannelGroups.of(self.graph, self.through_norms)

    @cached_property
    def costs(self) -> CostModel:
        """Costs of any plan for the model, and of the model itself (`costs.total`)."""
        return CostModel(self.groups)
