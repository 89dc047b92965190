"""Runs: small batches of drafts, each with a seed of its own, and counts of what was in them."""

import collections
import re
import traceback

import hypothesis
import keras

from random_graphs.checks import check, floats
from random_graphs.drafts import drafts, write
from random_graphs.smallest import smallest
from tfcompress.graph import LayerGraph
from tfcompress.graph.handlers import base, handler_of
from tfcompress.plan import RemoveLayers

__all__ = ["BATCH", "Failure", "Seen", "run_batch"]

# After ten examples hypothesis begins to repeat parts of what it has drawn, which makes fewer graphs of more examples.
BATCH = 10


class Seen:
    """What the graphs of some runs were made of.

    Attributes:
        graphs, cut, felt: how many graphs there were; how many had groups to cut; of how many the outputs changed.
        edits: how often each kind of edit occurred; of how many graphs the weights were fresh.
        structural, both, compared: how many graphs had structural edits; how many of them had cut channels as well; of
            how many of them outputs were compared.
        operations: how often each operation of the generator occurred.
        names: how often each Keras layer and operation occurred.
    """

    def __init__(self):
        self.graphs = self.cut = self.felt = self.structural = self.both = self.compared = 0
        self.edits = collections.Counter()
        self.operations, self.names = collections.Counter(), collections.Counter()
        self._handlers = set()

    def add(self, written, change):
        self.graphs += 1
        self.cut += len(written.plan.channels) > 0
        self.edits.update({type(edit).__name__ for edit in written.plan})
        self.edits["fresh"] += written.plan.weights == "fresh"
        kinds = {type(edit) for edit in written.plan.structural}
        self.structural += bool(kinds)
        self.both += bool(kinds) and len(written.plan.channels) > 0
        self.compared += kinds == {RemoveLayers} and written.plan.weights == "inherited"
        self.felt += change > 1e-5
        self.operations.update(written.used)
        self.names.update(re.findall(r"(?:layers|ops|keras)\.([A-Z]\w+|(?<=ops\.)\w+)\(", written.program))
        for operation in LayerGraph.from_keras(written.model).operations.values():
            self._handlers.add(type(handler_of(operation)).__name__)

    def handlers_not_met(self):
        known = {*base._BY_CLASS.values(), *base._BY_OPERATION_NAME.values()}
        return sorted({type(handler).__name__ for handler in known} - self._handlers)


class Failure(AssertionError):
    """A graph of which an oracle disagrees, or that could not be cut; says so with the smallest such program."""


def run_batch(seed, seen=None, examples=BATCH, structural=False):
    """Draws drafts, with structural edits or without, and checks each.

    Raises:
        Failure: with the smallest program that fails as the first that failed did.
    """
    failed = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(drafts(structural=structural))
    def run(draft):
        if failed:
            return  # the first is enough
        error, written, change = _try(draft)
        if error is not None:
            failed.append((draft, error))
        elif seen is not None:
            seen.add(written, change)

    keras.backend.clear_session(free_memory=False)
    run()
    if failed:
        raise Failure(_report(*failed[0]))


def _try(draft):
    """The error of a draft, what was written, and how much the outputs changed."""
    written = None
    try:
        written = write(draft)
        with floats():
            return None, written, check(written.model, written.plan, written.through_norms)
    except Exception as error:
        return error, written, None


def _kind(error):
    """What makes two errors one: their type and the beginning of what they say, without numbers."""
    return type(error), re.sub(r"[\d.e-]+", "", str(error)[:60])


def _report(draft, error):
    def fails(candidate):
        found, _, _ = _try(candidate)
        return found is not None and _kind(found) == _kind(error)

    draft = smallest(draft, fails)
    error, written, _ = _try(draft)
    program = written.program if written else f"(while writing {draft})"
    trace = "".join(traceback.format_tb(error.__traceback__)[-4:])
    # Keras puts whole arrays into its messages.
    return f"{type(error).__name__}: {str(error)[:400]}\n\n{trace}\nThe smallest program that fails:\n\n{program}"
