"""The Keras callbacks that `fit` uses, in the order in which it runs them.

None of them has a hook at the end of a training step: with such a hook Keras waits for the loss after every step.
Checks within an epoch are made before a step, a few times a second at most.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.data import set_epoch
from tfcompress.training.checkpoints import Checkpoints
from tfcompress.training.keeping import Best
from tfcompress.training.progress import Progress
from tfcompress.training.schedules import Schedule
from tfcompress.training.state import Tensors, is_finite, join, model_state

__all__ = ["EpochStart", "Guard", "Recorder", "Reporter", "TrainingDiverged"]

_LOOK_EVERY_S = 1.0

Row = dict[str, float]


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite; the model has the weights of the last good epoch again.

    Attributes:
        phase: name of the phase.
        epoch: the epoch, counted from 1.
        step: the step of the epoch, counted from 1, or None if the loss was finite but the last update was not.
    """

    def __init__(self, message: str, phase: str, epoch: int, step: int | None):
        super().__init__(message)
        self.phase = phase
        self.epoch = epoch
        self.step = step


class EpochStart(keras.callbacks.Callback):
    """Tells data and optimizer which epoch begins, and adds penalties and learning rate to the logs.

    Args:
        train: the data.
        schedule: the learning rate of each epoch.
        epochs: length of the training.
        tell_end: whether the data are a Keras dataset that Keras itself does not notify of an epoch's end.
    """

    def __init__(self, train: Any, schedule: Schedule | None, epochs: int, tell_end: bool = False):
        super().__init__()
        self._train, self._schedule, self._epochs, self._tell_end = train, schedule, epochs, tell_end

    def on_epoch_begin(self, epoch: int, logs: Row | None = None) -> None:
        """Sets the epoch and the learning rate."""
        self.model.start_epoch()
        set_epoch(self._train, epoch)
        if self._schedule is not None:
            self.model.optimizer.learning_rate = self._schedule(epoch, self._epochs)

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Notifies the data of the epoch's end, and adds penalties and learning rate to the logs."""
        if self._tell_end:
            self._train.on_epoch_end()
        if logs is not None:
            logs |= self.model.penalty_values()
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


class Guard(keras.callbacks.Callback):
    """Stops a training when its loss is not finite, or when its weights are not finite after an epoch.

    Args:
        phase: name of the phase, for the message.
        kept: returns words on where the last good state is.
        clock: returns seconds.
    """

    def __init__(self, phase: str, kept: Callable[[], str], clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self._phase, self._kept, self._clock = phase, kept, clock
        self._epoch = 0
        self._looked = clock()
        self._finite: list[Any] = []
        self._validation_batch: int | None = None

    def on_train_begin(self, logs: Row | None = None) -> None:
        """Records which variables are finite; a user's constant (a mask) may be infinite."""
        self._finite = [variable for variable in self.model.inner.variables if is_finite(variable)]

    def on_epoch_begin(self, epoch: int, logs: Row | None = None) -> None:
        """Records the epoch, for the message."""
        self._epoch = epoch

    def on_test_batch_begin(self, batch: int, logs: Row | None = None) -> None:
        """Records the batch, for the message."""
        self._validation_batch = batch

    def on_test_end(self, logs: Row | None = None) -> None:
        """Records that validation is over."""
        self._validation_batch = None

    @property
    def place(self) -> str:
        """The present batch, in words."""
        if self._validation_batch is not None:
            return f"batch {self._validation_batch + 1} of the validation data"
        return f"batch {self.model.steps() + 1} of the training data (epoch {self._epoch + 1} of {self._phase})"

    def on_train_batch_begin(self, batch: int, logs: Row | None = None) -> None:
        """Checks the losses so far, once a second."""
        if self._clock() - self._looked >= _LOOK_EVERY_S:
            self._look()

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Checks all losses of the epoch, and the weights after its last step."""
        self._look()
        broken = next((variable.path for variable in self._finite if not is_finite(variable)), None)
        if broken is not None:
            self._stop(f"{broken} became NaN or infinite in the last step", None)

    def _look(self) -> None:
        self._looked = self._clock()
        batch, step, holds = self.model.bad_batch(), self.model.bad_step(), "NaN or infinity"
        if batch is None and (batch := self.model.bad_labels()) is not None:
            holds = self.model.label_range.words
        if batch is not None:
            loss = f"the loss became NaN or infinite in step {step}, and " if step is not None else ""
            self._raise(
                f"{loss}batch {batch} of the training data of epoch {self._epoch + 1} holds {holds}. "
                f"{self._kept()} Remove or repair such samples.",
                batch,
            )
        if step is not None:
            self._stop(f"the loss became NaN or infinite in step {step}", step)

    def _stop(self, what: str, step: int | None) -> None:
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._raise(
            f"{what} of epoch {self._epoch + 1}. {self._kept()} Try a lower learning rate (it was {rate:g}), an "
            "optimizer with clipnorm, and look for a wrong scale of the inputs.",
            step,
        )

    def _raise(self, message: str, step: int | None) -> None:
        raise TrainingDiverged(f"{self._phase}: {message}", self._phase, self._epoch + 1, step)


class Reporter(keras.callbacks.Callback):
    """Updates the progress display.

    Args:
        progress: the display.
        phase: name of the phase.
        done: epochs finished by an interrupted run.
        hidden: names in the logs that are not shown.
        best: finds the best epoch, which is marked; it has seen the finished epochs.
    """

    def __init__(self, progress: Progress, phase: str, done: int, hidden: tuple[str, ...], best: Best):
        super().__init__()
        self._progress, self._phase, self._done, self._best = progress, phase, done, best
        self._hidden = {"learning_rate", "val_loss", *hidden} - {best.name}
        self._said = False

    def on_train_begin(self, logs: Row | None = None) -> None:
        """Shows a line before the first step, which compiles and is slow."""
        self._progress.begin(self._phase, self.params["epochs"], self.params.get("steps"), self._done)

    def on_train_batch_begin(self, batch: int, logs: Row | None = None) -> None:
        """Shows the values so far, if it is time."""
        if batch and self._progress.due(batch):
            values = self.model.get_metrics_result()
            self._progress.step(batch, _in_order({name: float(value) for name, value in values.items()}))

    def on_test_begin(self, logs: Row | None = None) -> None:
        """Shows that validation begins."""
        self._progress.doing("validation")

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Shows the values of the epoch, and warns if validation gave values that are not numbers."""
        bad = [name for name, value in (logs or {}).items() if name.startswith("val_") and not np.isfinite(value)]
        if bad and not self._said:
            self._said = True
            self._progress.note(
                f"Warning: {self._phase}: {' and '.join(bad)} {'is' if len(bad) == 1 else 'are'} NaN or infinite after "
                f"epoch {epoch + 1}: the model's outputs are not finite on the validation split."
            )
        self._best.look(epoch + 1, logs or {}, {})
        best = self._best.name if self._best.epoch == epoch + 1 else ""
        shown = {name: value for name, value in (logs or {}).items() if name not in self._hidden}
        self._progress.epoch_done(epoch + 1, _in_order(shown), best)


def _in_order(values: Row) -> Row:
    """Returns the loss first, then validation values, then the rest, because the end of a long line is cut off."""
    return dict(sorted(values.items(), key=lambda item: (item[0] != "loss", not item[0].startswith("val_"))))


class Recorder(keras.callbacks.Callback):
    """Keeps the history and the last good weights, and writes a checkpoint at the very end of each epoch.

    Args:
        model: the model that is trained.
        state: returns everything that a checkpoint holds besides the model.
        checkpoints: the checkpoints to write, or None.
        rows: the logs of the epochs before.
        best: finds the best epoch, or None.
    """

    def __init__(
        self,
        model: keras.Model,
        state: Callable[[], Mapping[str, Tensors]],
        checkpoints: Checkpoints | None,
        rows: list[Row],
        best: Best | None = None,
    ):
        super().__init__()
        self._inner, self._state, self._checkpoints, self._best = model, state, checkpoints, best
        self.rows = rows
        self.good = model_state(model)

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Records the epoch."""
        self.rows.append({name: float(value) for name, value in (logs or {}).items()})
        self.good = model_state(self._inner)
        if self._best is not None:
            self._best.look(len(self.rows), self.rows[-1], self.good)
        if self._checkpoints is not None:
            parts = {"model": self.good, **self._state()}
            info: dict[str, Any] = {"rows": self.rows, "stopped": bool(self.model.stop_training)}
            if self._best is not None:
                info["best"] = self._best.info()
                if self._best.tensors is not self.good:
                    parts["best"] = self._best.tensors
            tensors = join(parts)
            self._checkpoints.save(epoch + 1, tensors, info)
