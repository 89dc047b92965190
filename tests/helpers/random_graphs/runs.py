"""Runs: small batches of drafts, each with a seed of its own, and counts of what was in them."""

import collections
import re

import hypothesis

from random_graphs.checks import check
from random_graphs.drafts import drafts, write
from tfcompress.graph import LayerGraph
from tfcompress.graph.handlers import base, handler_of

__all__ = ["BATCH", "Seen", "report", "run_batch"]

# After ten examples hypothesis begins to repeat parts of what it has drawn, which makes fewer graphs of more examples.
BATCH = 10


class Seen:
    """What the graphs of some runs were made of.

    Attributes:
        graphs, cut, felt: how many graphs there were; how many had groups to cut; of how many the outputs changed.
        operations: how often each operation of the generator occurred.
        names: how often each Keras layer and operation occurred.
    """

    def __init__(self):
        self.graphs = self.cut = self.felt = 0
        self.operations, self.names = collections.Counter(), collections.Counter()
        self._handlers = set()

    def add(self, written, change):
        self.graphs += 1
        self.cut += len(written.plan) > 0
        self.felt += change > 1e-5
        self.operations.update(written.used)
        self.names.update(re.findall(r"(?:layers|ops|keras)\.([A-Z]\w+|(?<=ops\.)\w+)\(", written.program))
        for operation in LayerGraph.from_keras(written.model).operations.values():
            self._handlers.add(type(handler_of(operation)).__name__)

    def handlers_not_met(self):
        known = {*base._BY_CLASS.values(), *base._BY_OPERATION_NAME.values()}
        return sorted({type(handler).__name__ for handler in known} - self._handlers)


def run_batch(seed, seen=None, examples=BATCH):
    """Draws drafts and checks each; of one that fails hypothesis looks for the smallest, and raises its error.

    The error's notes (`__notes__`) hold the program.
    """

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @hypothesis.given(drafts())
    def run(draft):
        written = write(draft)
        hypothesis.note(f"The smallest program that fails:\n\n{written.program}")
        change = check(written.model, written.plan, written.through_norms)
        if seen is not None:
            seen.add(written, change)

    run()


def report(error):
    """An error with the program that hypothesis noted."""
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
