"""What a model is compiled with is read in every form in which Keras takes it, and metrics are made anew."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, losses, metrics

from tfcompress.training.compiled import direction, made_anew, metric_specs, name_of, read_loss


def own_loss(y, outputs):
    return keras.ops.mean(y - outputs)


class OwnLoss(losses.BinaryCrossentropy):
    pass


@pytest.mark.parametrize(
    ("loss", "name", "is_keras", "from_logits", "ignored"),
    [
        ("ce", "crossentropy", True, False, None),
        ("mse", "mean_squared_error", True, False, None),
        ("KLD", "kl_divergence", True, False, None),
        ("BinaryCrossentropy", "binary_crossentropy", True, False, None),
        (losses.binary_crossentropy, "binary_crossentropy", True, False, None),
        (losses.MeanAbsoluteError, "mean_absolute_error", True, False, None),
        (losses.BinaryCrossentropy(from_logits=True), "binary_crossentropy", True, True, None),
        (losses.SparseCategoricalCrossentropy(ignore_class=255), "sparse_categorical_crossentropy", True, False, 255),
        (functools.partial(losses.binary_crossentropy, from_logits=True), "binary_crossentropy", True, True, None),
        (losses.CTC(), "ctc", True, False, None),
        (own_loss, "own_loss", False, False, None),
        (functools.partial(own_loss), "own_loss", False, False, None),
        (OwnLoss(), "own_loss", False, False, None),
    ],
)
def test_losses(loss, name, is_keras, from_logits, ignored):
    assert read_loss(loss) == (name, is_keras, from_logits, ignored)


class Scaled(metrics.Mean):
    """The mean times a number that the config lacks."""

    def __init__(self, by=1.0, name="scaled", **kwargs):
        super().__init__(name=name, **kwargs)
        self.by = by

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(self.by * y_pred)


class Whole(Scaled):
    def get_config(self):
        return {**super().get_config(), "by": self.by}


def test_a_metric_object_is_made_anew_or_used_itself_and_never_becomes_another():
    for given in (metrics.SparseTopKCategoricalAccuracy(2), metrics.AUC(50), Whole(3.0), Scaled()):
        made = made_anew(given)()
        assert type(made) is type(given)
        assert made is not given
        assert made.name == given.name
    assert made_anew(metrics.SparseTopKCategoricalAccuracy(2))().k == 2
    for given in (Scaled(3.0), metrics.CosineSimilarity(axis=0)):  # neither config says what was given
        assert made_anew(given)() is given


def test_a_lambda_is_no_reason_for_a_warning(recwarn):
    given = metrics.MeanMetricWrapper(lambda y, outputs: outputs, name="odd")
    assert made_anew(given)() is not given
    assert made_anew(given)().name == "odd"
    assert not recwarn.list


def test_names_functions_and_partials_are_metrics_too():
    made = made_anew(functools.partial(metrics.binary_accuracy, threshold=0.0))()
    made.update_state(np.array([[1.0]]), np.array([[0.3]]))
    assert (made.name, float(made.result())) == ("binary_accuracy", 1.0)
    assert [made_anew(spec)().name for spec in ("mae", "AUC", own_loss)] == ["mae", "AUC", "own_loss"]
    assert isinstance(made_anew(metrics.AUC)(), metrics.AUC)
    assert name_of(functools.partial(own_loss)) == "own_loss"


def test_which_direction_is_better():
    better = {
        "mae": False,
        "AUC": True,
        "sparse_top_k_categorical_accuracy": True,
        own_loss: None,
        "FalsePositives": None,
    }
    assert {spec: direction(made_anew(spec)()) for spec in better} == better
    names = {"acc_of_mine": True, "top5_acc": True, "PixelAccuracy": True, "acc1": True}
    names |= {"inaccuracy": None, "acceleration": None, "accuracy_error": None}
    assert {name: direction(Scaled(name=name)) for name in names} == names


def test_metrics_of_a_model_in_every_structure():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, name="out")])
    auc = metrics.AUC()
    for given in (["mae", auc], [["mae", auc]], {"out": ["mae", auc]}):
        model.compile("sgd", "mse", metrics=given, weighted_metrics=["mape"])
        assert metric_specs(model) == ["mae", auc, "mape"]
