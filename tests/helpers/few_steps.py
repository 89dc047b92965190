"""Trainings of a few steps and measurements of a batch that run eagerly: to trace them would take longer than to run them.

That what is trained can be traced is seen where more is trained: on every page of a method (tests/docs/test_methods.py),
in tests/training and in tests/end_to_end.
"""

import contextlib
from unittest import mock

import keras

from tfcompress.training import PenalizedModel

STEPS = 6
"""So many steps of a training and batches of a measurement run eagerly; 0 in a test that is about traces."""


def _are_few(batches, epochs=1):
    if isinstance(batches, keras.utils.PyDataset):
        return 0 < len(batches) * epochs <= STEPS
    return hasattr(batches, "cardinality") and 0 < int(batches.cardinality()) * epochs <= STEPS


@contextlib.contextmanager
def eagerly(trainings=True):
    """Within it `fit`, unless it is told not to, and `Evaluator` run eagerly where they have few steps."""
    fit, evaluate = PenalizedModel.fit, PenalizedModel.evaluate

    def short_fit(model, x, *, epochs, initial_epoch=0, **options):
        model.run_eagerly = _are_few(x, epochs - initial_epoch)
        return fit(model, x, epochs=epochs, initial_epoch=initial_epoch, **options)

    def short_evaluate(model, x=None, **options):
        if "_use_cached_eval_dataset" not in options:  # a part of a training, which has decided
            model.run_eagerly = _are_few(x)
        return evaluate(model, x, **options)

    with (
        mock.patch.object(PenalizedModel, "fit", short_fit if trainings else fit),
        mock.patch.object(PenalizedModel, "evaluate", short_evaluate),
    ):
        yield
