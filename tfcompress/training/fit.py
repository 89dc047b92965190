"""The only training loop: Keras' own `fit`, with penalties, resume, progress and a guard against NaN."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import keras

from tfcompress import expect
from tfcompress.data import clear_error, is_of_tensorflow, without_autotuning
from tfcompress.training.callbacks import EpochStart, Guard, Recorder, Reporter, Row, TrainingDiverged
from tfcompress.training.checkpoints import Checkpoint, Checkpoints
from tfcompress.training.keeping import KEPT, Best
from tfcompress.training.objectives import Objective
from tfcompress.training.penalized import PenalizedModel
from tfcompress.training.penalties import Penalty
from tfcompress.training.progress import Progress
from tfcompress.training.run_folder import NoRunFolder, RunFolder
from tfcompress.training.schedules import Schedule
from tfcompress.training.state import (
    Stateful,
    Tensors,
    join,
    load_model_state,
    load_optimizer_state,
    model_state,
    optimizer_state,
    select,
)
from tfcompress.training.tensorboard import EpochScalars

__all__ = ["History", "Phase", "fit"]

History = dict[str, list[float | None]]
"""Values by epoch for each name in the logs; None for an epoch without such a value."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """The record and display of one phase of a run.

    Attributes:
        name: unique within the run; used for its checkpoints, its TensorBoard logs and its line on the screen.
        run: the run folder, for checkpoints and TensorBoard logs.
        progress: the display; silent by default.
        stateful: further objects whose state belongs to a checkpoint (agent, buffer, changing penalties), by name.
    """

    name: str = "training"
    run: RunFolder | NoRunFolder = dataclasses.field(default_factory=NoRunFolder)
    progress: Progress = dataclasses.field(default_factory=lambda: Progress(verbose=0))
    stateful: Mapping[str, Stateful] = dataclasses.field(default_factory=dict)


def fit(
    model: keras.Model,
    train: Any,
    objective: Objective,
    *,
    optimizer: keras.optimizers.Optimizer,
    epochs: int,
    validation: Any = None,
    schedule: Schedule | None = None,
    penalties: Sequence[Penalty] = (),
    callbacks: Iterable[keras.callbacks.Callback] = (),
    phase: Phase | None = None,
    keep: Literal["best", "last"] = "last",
) -> History:
    """Trains `model` in place.

    A phase with a run folder writes a checkpoint at the end of each epoch. Called again with the same arguments after
    an interruption, `fit` continues with the epoch after the newest intact checkpoint: model, optimizer, everything in
    `phase.stateful`, and the history are as they were then. A phase that was finished returns at once. If TensorFlow's
    operations are deterministic (`tf.config.experimental.enable_op_determinism()`) and the data depend only on the
    epoch, as with `tfcompress.data.ArrayBatches`, the result equals that of the uninterrupted training, bit for bit.

    Args:
        model: a built model. Its own compile state is neither used nor changed.
        train: batches, used in their order: a Keras PyDataset or a tf.data.Dataset. Those from `tfcompress.data` are
            told the number of the epoch, counted from 0, before each epoch.
        objective: loss and metric.
        optimizer: a new optimizer.
        epochs: number of epochs, including those of an interrupted run; 0 does nothing.
        validation: None, or batches on which to measure loss and metric after each epoch.
        schedule: sets the learning rate at the start of each epoch; by default the optimizer's own rate is used.
        penalties: terms of the training loss, such as `WeightDecay`.
        callbacks: Keras callbacks. Their `self.model` is a `PenalizedModel`, whose `inner` is `model`; values that they
            put into the `logs` of `on_epoch_end` enter history, TensorBoard and progress. Their state is lost by an
            interruption, unless they are in `phase.stateful` too.
        phase: the record and display of the phase; by default none.
        keep: which weights the model has in the end: those of the last epoch, or those of the epoch that did best on
            `validation`, see `Best`.

    Returns:
        The history of all epochs; with `keep="best"` it says under "kept" which epoch that was.

    Raises:
        ValueError: for invalid arguments, before anything is trained.
        TrainingDiverged: the loss becomes NaN or infinite. The model then has the weights of the last good epoch.
    """
    _check(model, epochs)
    if keep == "best" and validation is None:
        raise ValueError("Expected `validation`, to find the best weights. Received: validation=None, keep='best'")
    phase = phase or Phase()
    checkpoints = phase.run.checkpoints(phase.name)
    last = _latest(checkpoints, phase.progress)
    if last is not None and last.finished:
        _restore(last, model, None, phase.stateful)
        phase.progress.skip(phase.name)
        return _history(last.info["rows"])
    if epochs == 0:
        return {}

    trained = PenalizedModel(model, penalties)
    objective.compile(trained, optimizer)
    if not trained.optimizer.built:
        trained.optimizer.build(trained.trainable_variables)
    done = 0
    if last is not None:
        _restore(last, model, trained.optimizer, phase.stateful)
        done = epochs if last.info["stopped"] else last.epoch

    def state() -> dict[str, Tensors]:
        return {"optimizer": optimizer_state(trained.optimizer), **_stateful_state(phase.stateful)}

    best = Best(objective) if keep == "best" else None
    if best is not None and last is not None and "best" in last.info:
        best.restore(last.info["best"], select(last.tensors, "best") or select(last.tensors, "model"))
    recorder = Recorder(model, state, checkpoints, [] if last is None else last.info["rows"], best)
    marked = Best(objective)
    for number, row in enumerate(recorder.rows, start=1):
        marked.look(number, row, {})
    batches = without_autotuning(train)
    guard = Guard(phase.name, lambda: _kept(len(recorder.rows), checkpoints))
    all_callbacks = [
        EpochStart(train, schedule, epochs, tell_end=batches is not train),
        guard,
        *callbacks,
        *_tensorboard(phase),
        Reporter(phase.progress, phase.name, done, tuple(penalty.name for penalty in penalties), marked),
        recorder,
    ]
    try:
        trained.fit(
            batches,
            epochs=epochs,
            initial_epoch=done,
            validation_data=without_autotuning(validation),
            callbacks=all_callbacks,
            shuffle=False,  # Keras would shuffle batches by Python's global random state
            verbose=0,
        )
    except TrainingDiverged:
        load_model_state(model, recorder.good)
        raise
    except Exception as error:
        if not is_of_tensorflow(error):
            raise
        load_model_state(model, recorder.good)
        raise clear_error(error, guard.place) from None
    finally:
        phase.progress.end()
    if best is not None and best.epoch:
        load_model_state(model, best.tensors)
        for number, row in enumerate(recorder.rows, start=1):
            row[KEPT] = float(number == best.epoch)
    if checkpoints is not None:
        # Once more, as callbacks may set the best weights, and optimizers averaged ones, at the end of training.
        tensors = join({"model": model_state(model), **_stateful_state(phase.stateful)})
        checkpoints.finish(len(recorder.rows), tensors, {"rows": recorder.rows})
    return _history(recorder.rows)


def _check(model: keras.Model, epochs: int) -> None:
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            "Expected a built keras.Model. "
            f"Received: model={model!r}. Call it on a batch first, or build it with an Input."
        )
    expect.whole("epochs", epochs)


def _latest(checkpoints: Checkpoints | None, progress: Progress) -> Checkpoint | None:
    if checkpoints is None:
        return None
    last = checkpoints.latest()
    for message in checkpoints.skipped:
        progress.note(message)
    return last


def _restore(
    last: Checkpoint,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer | None,
    stateful: Mapping[str, Stateful],
) -> None:
    load_model_state(model, select(last.tensors, "model"))
    if optimizer is not None:
        load_optimizer_state(optimizer, select(last.tensors, "optimizer"))
    for name, owner in stateful.items():
        owner.load_state_dict(select(last.tensors, f"stateful/{name}"))


def _stateful_state(stateful: Mapping[str, Stateful]) -> dict[str, Tensors]:
    return {f"stateful/{name}": owner.state_dict() for name, owner in stateful.items()}


def _tensorboard(phase: Phase) -> list[keras.callbacks.Callback]:
    log_dir = phase.run.tensorboard(phase.name)
    return [] if log_dir is None else [EpochScalars(log_dir)]


def _kept(epochs: int, checkpoints: Checkpoints | None) -> str:
    which = f"The weights after epoch {epochs}" if epochs else "The initial weights"
    where = f", and its checkpoint is in {checkpoints.folder}" if checkpoints is not None and epochs else ""
    return f"{which} are in the model again{where}."


def _history(rows: list[Row]) -> History:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
