"""The thin model around the trained model, for Keras' own `fit`."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from tfcompress.training.own_loss import InPlaceOf, OwnLoss
from tfcompress.training.penalties import Penalty

__all__ = ["BatchNumber", "LabelRange", "PenalizedModel", "policy_of"]


def policy_of(model: keras.Model) -> Any:
    """Returns the dtype policy that makes Keras scale losses: "mixed_float16" if any layer has it."""
    layers = getattr(model, "layers", ())
    return next(
        (layer.dtype_policy for layer in layers if layer.dtype_policy.name == "mixed_float16"), model.dtype_policy
    )


class BatchNumber(keras.callbacks.Callback):
    """Records the number of the batch that is measured, counted from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 1

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Records the number."""
        self.number = batch + 1


def _waiting_for(batch: Any) -> contextlib.AbstractContextManager[Any]:
    """Makes everything that a traced step does wait for its batch.

    Keras finds the end of data of unknown length by a call of the compiled step that gets no batch. In that call
    TensorFlow still runs everything that does not depend on the batch: counters, the optimizer's step number, the
    states of random layers, the counts of metrics whose batch has a static size.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.control_dependencies(
        [part for part in tf.nest.flatten(batch, expand_composites=True) if tf.is_tensor(part)]
    )


def _is_finite(batch: Any) -> Any:
    """Returns whether all floats in a batch (inputs, labels and weights) are finite."""
    parts = keras.tree.flatten(batch)
    floats = [part for part in parts if "float" in str(getattr(part, "dtype", "")) and hasattr(part, "shape")]
    checks = [ops.all(ops.isfinite(part)) for part in floats if keras.ops.is_tensor(part)]
    return ops.all(ops.stack(checks)) if checks else ops.convert_to_tensor(True)


class LabelRange(NamedTuple):
    """The range of labels that the loss of a classifier with outputs `[batch, outputs]` reads.

    Attributes:
        are_indices: whether they are indices of the outputs; otherwise numbers between 0 and 1.
        ignored: the class that the loss ignores, or `None`.
    """

    are_indices: bool
    ignored: int | None = None

    @property
    def words(self) -> str:
        """Labels out of range, in words."""
        return "labels that are not classes of the model" if self.are_indices else "labels below 0 or above 1"

    def holds(self, y: Any, y_pred: Any) -> Any:
        """Returns whether all labels are in the range; True for outputs of another shape."""
        y, y_pred = (keras.tree.flatten(part) for part in (y, y_pred))
        if len(y) != 1 or len(y_pred) != 1 or len(y_pred[0].shape) != 2:
            return ops.convert_to_tensor(True)
        labels = ops.cast(y[0], "float32")
        fits = ops.logical_and(labels >= 0, labels <= (y_pred[0].shape[-1] - 1 if self.are_indices else 1))
        return ops.all(fits if self.ignored is None else ops.logical_or(fits, labels == self.ignored))


class PenalizedModel(keras.Model):
    """Calls `inner`, and adds penalties and the regularization losses of `inner` to the training loss, each once.

    `inner` is trained in place, and its own compile state is not changed. The loss of validation and `evaluate` is only
    that of the objective, so that it means the same before and after a model was changed (Keras would add the
    regularization losses). Compiled with `loss=None`, it uses `inner.compute_loss`. An `OwnLoss` is always compiled in
    this way, and decides itself which of its outputs are measured.

    Args:
        inner: a built model.
        penalties: terms of the training loss.
    """

    def __init__(self, inner: keras.Model, penalties: Sequence[Penalty] = ()):
        super().__init__(name=f"{inner.name}_in_training", dtype=policy_of(inner))
        self.inner = inner
        self.penalties = tuple(penalties)
        for penalty in self.penalties:
            penalty.build(inner)
        self._steps, self._good_steps = self._counter("steps"), self._counter("good_steps")
        self._good_batches, self._good_labels = self._counter("good_batches"), self._counter("good_labels")
        self.own_loss = inner if isinstance(inner, OwnLoss) else None
        self._inner_metrics = [] if self.own_loss is None else self.own_loss.training_metrics
        self._score: Callable[[Any, Any], Any] | None = None
        self.label_range: LabelRange | None = None
        # By which losses and labels in a dict find their outputs.
        self.output_names = getattr(inner, "output_names", None)
        self.built = True

    def measure(self, score: Callable[[Any, Any], Any], name: str) -> None:
        """Adds the mean of `score(y, outputs)` (`[batch]` numbers) as the metric `name`."""
        self._score, self._score_mean = score, keras.metrics.Mean(name=name)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Returns the metrics by name, with that of `measure`; only those that this step has measured."""
        outputs = y_pred if self.own_loss is None else self.own_loss.outputs_of(y_pred)
        if outputs is None:
            return self._own_results()
        if self._score is not None:
            self._score_mean.update_state(ops.cast(self._score(y, outputs), "float32"))
        results: dict[str, Any] = super().compute_metrics(x, y, outputs, sample_weight)
        if outputs is y_pred:
            results = {name: value for name, value in results.items() if name not in self._inner_metrics_names()}
        return results

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the results by name, without those of metrics that no step has measured yet."""
        measured = self._compile_metrics is None or self._compile_metrics.built
        results: dict[str, Any] = super().get_metrics_result() if measured else self._own_results()
        return results

    def _own_results(self) -> dict[str, Any]:
        return {metric.name: metric.result() for metric in (self._loss_tracker, *self._inner_metrics)}

    def _inner_metrics_names(self) -> set[str]:
        return {metric.name for metric in self._inner_metrics}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of the objective, and the inner model's metrics of its own loss in training."""
        return [*super().metrics, *self._inner_metrics]

    @property
    def learner(self) -> keras.Model:
        """The model whose training is the purpose: the inner one, or the student in it."""
        return self.inner.learner if isinstance(self.inner, InPlaceOf) else self.inner

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves the model that is trained, for callbacks such as ModelCheckpoint."""
        self.learner.save(*args, **kwargs)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Saves the weights of the model that is trained, for callbacks such as ModelCheckpoint."""
        self.learner.save_weights(*args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the outputs of the inner model."""
        # Without the argument in this signature Keras' train step would not say that it trains.
        return self.inner(inputs, training=training)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """Runs Keras' own step, after the training of parts beside the inner model; does nothing without a batch."""
        with _waiting_for(args[-1]):
            if self.own_loss is not None:
                self.own_loss.before_step(keras.utils.unpack_x_y_sample_weight(args[-1])[0])
            return super().train_step(*args, **kwargs)

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Runs Keras' own step; does nothing without a batch."""
        with _waiting_for(args[-1]):
            return super().test_step(*args, **kwargs)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the objective's loss; in training with all penalties added."""
        if self._compile_loss is None:
            loss = self.inner.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        elif training:
            loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        else:
            loss = self._compile_loss(y, y_pred, sample_weight)
        if not training:
            return loss
        for penalty in self.penalties:
            loss = loss + self._aggregate_additional_loss(penalty())
        fit = True if self.label_range is None else self.label_range.holds(y, y_pred)
        self._count(loss, _is_finite((x, y, sample_weight)), fit)
        return loss

    def _counter(self, name: str) -> Any:
        # Floats, as integer variables stay off a GPU; exact up to 16 million steps an epoch.
        return self.add_weight(
            shape=(),
            dtype="float32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def _count(self, loss: Any, finite: Any, labels_fit: Any) -> None:
        """Counts the steps of the epoch, and records the first bad loss, the first bad batch and bad labels."""
        with _waiting_for(loss):
            good = (ops.isfinite(loss), finite, labels_fit)
            for counter, holds in zip((self._good_steps, self._good_batches, self._good_labels), good, strict=True):
                so_far = ops.logical_and(holds, ops.equal(counter, self._steps))
                counter.assign_add(ops.cast(so_far, "float32"))
            self._steps.assign_add(1.0)

    def start_epoch(self) -> None:
        """Starts counting the steps of an epoch."""
        self._steps.assign(0.0)
        self._good_steps.assign(0.0)
        self._good_batches.assign(0.0)
        self._good_labels.assign(0.0)

    def steps(self) -> int:
        """Returns the number of finished steps of the epoch."""
        return int(ops.convert_to_numpy(self._steps))

    def bad_step(self) -> int | None:
        """Returns the number, from 1, of the epoch's first step with a NaN or infinite loss; None if there is none."""
        return self._first_bad(self._good_steps)

    def bad_batch(self) -> int | None:
        """Returns the number, from 1, of the epoch's first batch with NaN or infinity; None if there is none."""
        return self._first_bad(self._good_batches)

    def bad_labels(self) -> int | None:
        """Returns the number, from 1, of the epoch's first batch with labels out of range; None if there is none."""
        return self._first_bad(self._good_labels)

    def _first_bad(self, counter: Any) -> int | None:
        good = int(ops.convert_to_numpy(counter))
        return None if good == self.steps() else good + 1

    def penalty_values(self) -> dict[str, float]:
        """Returns the present value of each penalty, by name."""
        return {penalty.name: float(ops.convert_to_numpy(penalty())) for penalty in self.penalties}
