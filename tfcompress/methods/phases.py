"""Functions that train one phase of a run by a `Training`, with or without a teacher."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from tfcompress.evaluation import Evaluator, calibration_batches
from tfcompress.graph import LayerGraph, TensorRef, bypasses, find_sections
from tfcompress.network import Network
from tfcompress.rewrite.statistics import reestimate_statistics
from tfcompress.rewrite.working_copy import any_batch, flat_copy
from tfcompress.task import Task
from tfcompress.training import Keep, Objective, Schedule, Training, WeightDecay, fit, loss_function, words_for_kept
from tfcompress.training.compiled import last_activation, names_accuracy
from tfcompress.training.moving_statistics import keeping_up, words_for_momentum
from tfcompress.training.teaching import (
    Distillation,
    KDLoss,
    LabelsLoss,
    OutputsLoss,
    PointHints,
    Points,
    SoftTargets,
    Teaching,
    computing_in,
    logits_of,
    regressor,
)

__all__ = [
    "can_teach",
    "check_outputs",
    "check_teaching",
    "cost_of_teacher",
    "kd_loss",
    "score_of",
    "share_of_macs",
    "statistics_keep_up",
    "take_statistics_anew",
    "taught",
    "train_phase",
    "train_student",
]


def train_phase(
    model: keras.Model,
    task: Task,
    training: Training,
    phase: str,
    *,
    objective: Objective | None = None,
    schedule: Schedule | None = None,
    data: Any = None,
    penalties: Sequence[Any] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    stateful: Mapping[str, Any] | None = None,
    keep: Keep = "last",
    validate: bool = True,
) -> dict[str, list[Any]]:
    """Trains `model` in place for one phase of the run, `training.epochs` long; returns its history.

    Args:
        model: a built model; an `OwnLoss` is trained by its own loss.
        task: the task.
        training: the settings of the training.
        phase: name of the phase.
        objective: an objective to use instead of the task's.
        schedule: a schedule to use instead of that of `training`.
        data: batches to use instead of the task's augmented training split.
        penalties, callbacks, stateful: as for `fit`.
        keep: which weights to keep; `training.keep` for the recovery.
        validate: whether loss and metric are measured on the validation split after each epoch.
    """
    decay = [WeightDecay(training.penalty_of_weights)] if training.penalty_of_weights else []
    schedule = schedule or training.schedule_for(task.is_trained)
    rate = training.first_learning_rate(task.is_trained) if schedule is None else schedule(0, max(training.epochs, 1))
    history = fit(
        model,
        task.splits.train.batches(training.batch_size, training=True) if data is None else data,
        objective or task.objective,
        optimizer=training.new_optimizer(rate),
        epochs=training.epochs,
        validation=task.splits.validation.batches(250) if validate else None,
        schedule=schedule,
        penalties=[*decay, *penalties],
        callbacks=[*callbacks, *task.callbacks],
        phase=task.phase(phase, stateful),
        keep=keep,
    )
    if said := words_for_kept(phase, history, task.objective):
        task.say(said)
    return history


def train_student(
    student: keras.Model,
    task: Task,
    training: Training,
    phase: str,
    *,
    teaching: Teaching | None = None,
    keep_up: bool = True,
    **options: Any,
) -> dict[str, list[Any]]:
    """Trains a student in place for one phase, on labels and by its teacher; returns its history.

    Args:
        student: a built model.
        task: the task.
        training: the settings of the training.
        phase: name of the phase.
        teaching: soft targets and hints, checked by `check_teaching`; `None` for labels alone.
        keep_up: whether statistics of BatchNormalization keep up with a short training, see `statistics_keep_up`.
        options: further arguments of `train_phase`.
    """
    short = statistics_keep_up(student, task, training) if keep_up else contextlib.nullcontext()
    with short, computing_in(training.mixed_precision, (student,)):
        model = student if teaching is None else taught(student, task, teaching)
        return train_phase(model, task, training, phase, **options)


@contextlib.contextmanager
def statistics_keep_up(student: keras.Model, task: Task, training: Training) -> Iterator[None]:
    """Makes BatchNormalization statistics of a student keep up with a training of few steps, inside the `with`."""
    steps = task.splits.train.num_batches(training.batch_size)
    with keeping_up(student, steps) as changed:
        if changed:
            task.say(words_for_momentum(changed, steps or 1))
        yield


def score_of(student: keras.Model, task: Task) -> float | None:
    """Returns the task's metric of a student on the validation split, `None` if the task has none."""
    name = task.objective.metric_name
    task.progress.doing("scoring a student")
    return None if name is None else Evaluator(student, task.objective)(task.splits.validation.batches(250))[name]


def share_of_macs(task: Task) -> float:
    """Returns the share of the original's multiply-adds that the budget allows; 1 if it does not limit them."""
    total = task.costs.total.macs
    return task.limits.get("macs", total) / total


def take_statistics_anew(student: keras.Model, task: Task, batches: int) -> None:
    """Computes the BatchNormalization statistics of a student anew, from batches of 128 training samples.

    Args:
        student: a built model.
        task: the task.
        batches: number of batches; 0 to keep the statistics.
    """
    if batches:
        task.progress.doing("computing BatchNormalization statistics")
    reestimate_statistics(task.network_of(student), calibration_batches(task.splits, batches))


def cost_of_teacher(teaching: SoftTargets | Teaching | None) -> float:
    """Returns the share that a teacher adds to the cost of a training step, which is about three forward passes."""
    return 0.0 if teaching is None else 1 / 3


def taught(
    student: keras.Model,
    task: Task,
    teaching: Teaching,
    teacher: keras.Model | None = None,
    cached: bool = False,
    runs: keras.Model | None = None,
) -> Distillation:
    """Returns the student combined with its teacher; `fit` trains the student in place.

    Args:
        student: a built model.
        task: the task.
        teaching: soft targets and hints.
        teacher: the teacher, if `teaching` names none; by default the original model, in a flow that of its first stage
            (but for hints, which compare layers that the stage's own source has).
        cached: whether batches contain the teacher's outputs, see `Distillation`.
        runs: a model that is trained in the student's place; by default the student itself.
    """
    if teaching.teacher is not None:
        teacher = _runnable(teaching.teacher, teaching)
    elif teacher is None:
        teacher = task.first_teacher if teaching.hints is None else task.teacher
    hard = loss_function(student, task.objective)
    assert hard is not None
    outputs: OutputsLoss = LabelsLoss(hard)
    if teaching.has_soft_targets:
        outputs = kd_loss(student, teacher, task, teaching.soft_targets)
    hints = None if teaching.hints is None else _hints(student, teacher, task, teaching)
    return Distillation(
        student if runs is None else runs,
        teacher,
        outputs_loss=outputs,
        hints=hints,
        beta=1.0 if hints is None else teaching.beta,
        validation_loss=hard,
        seed=task.seed,
        cached=cached,
    )


def _runnable(teacher: keras.Model, teaching: Teaching) -> keras.Model:
    """Returns a given teacher made to accept any number of samples, and flattened if hints read its inner layers."""
    return any_batch(teacher) if teaching.hints is None else flat_copy(teacher)


def kd_loss(student: keras.Model, teacher: keras.Model, task: Task, targets: SoftTargets) -> KDLoss:
    """Returns the loss L_KD with the task's loss on labels."""
    hard = loss_function(student, task.objective)
    assert hard is not None
    return KDLoss(student, teacher, targets, hard, task.objective.name.startswith("binary"))


def _hints(student: keras.Model, teacher: keras.Model, task: Task, teaching: Teaching) -> PointHints:
    graph = task.network_of(task.original).graph
    names = _hint_layers(teaching, graph)
    own, wanted = (_points(task.network_of(model), names, graph) for model in (student, teacher))
    layers = tuple(regressor(own.shape(i), wanted.shape(i), task.seed + i, f"regressor_{i}") for i in range(len(names)))
    return PointHints(own, wanted, teaching.loss, layers, teaching.relative)


def _hint_layers(teaching: Teaching, graph: LayerGraph) -> tuple[str, ...]:
    """Returns the layers that hints compare."""
    if teaching.hints == "sections":
        return find_sections(graph).boundaries[1:]
    return tuple(teaching.hints or ())


def _points(network: Network, names: Sequence[str], graph: LayerGraph) -> Points:
    """Returns the points of a network made from this graph; for removed layers, the points that replace them."""
    left = network.graph.nodes
    missing = tuple(name for name in graph.nodes if name not in left)
    new = [name for name in left if name not in graph.nodes]
    if new and (lost := [name for name in names if name in missing]):
        raise ValueError(
            f"Expected `hints` among the layers that {network.model.name!r} keeps. Received: {lost}, which it does not "
            f"have, and new layers such as {new[:4]}, none of which is known to replace them. Name later layers."
        )
    return Points(network, _passed(names, graph, missing))


def _passed(names: Sequence[str], graph: LayerGraph, removed: Sequence[str]) -> tuple[str, ...]:
    """Returns the nodes whose outputs replace those of `names`, when some are removed."""
    if not set(names) & set(removed):
        return tuple(names)
    passed = bypasses(graph, removed)
    return tuple(passed.get(TensorRef(name), TensorRef(name)).node for name in names)


def check_teaching(
    teaching: Teaching,
    task: Task,
    students: Sequence[keras.Model] = (),
    removed: Sequence[Sequence[str]] = (),
    replaced: Sequence[str] = (),
) -> None:
    """Refuses a teaching that does not fit the task, before anything is trained.

    Args:
        teaching: soft targets and hints.
        task: the task.
        students: models to be trained, if they are not made from the task's model.
        removed: nodes of the task's model that every student made from it lacks.
        replaced: nodes of the task's model that may be replaced by others.

    Raises:
        ValueError: outputs that are not classes, a teacher with other inputs or outputs, or unknown
            layers.
    """
    teacher = teaching.teacher
    if teacher is not None:
        _runnable(teacher, teaching)  # says what is wrong with a model that cannot be read
        wanted, given = (_ends(model) for model in (task.original, teacher))
        if wanted != given:
            raise ValueError(
                "Expected a teacher with inputs and outputs like the model's, inputs of shapes "
                f"{wanted[0]} and outputs of {wanted[1]}. Received: teach=Teaching(teacher=...) with {teacher.name!r}, "
                f"of {given[0]} and {given[1]}. Build it for the same inputs and classes."
            )
    if teaching.has_soft_targets:
        advice = "Leave teach= out, or teach by hints alone: teach=Teaching(alpha=1, hints=...)."
        check_outputs(task, [*students, *([] if teacher is None else [teacher])], advice)
    if teaching.hints is not None:
        _check_hints(teaching, task, [*students, *([] if teacher is None else [teacher])], removed, replaced)


def _ends(model: keras.Model) -> tuple[list[tuple[int | None, ...]], list[tuple[int | None, ...]]]:
    """Returns the shapes of a model's inputs and outputs, without the batch."""
    inputs, outputs = ([tuple(tensor.shape[1:]) for tensor in ends] for ends in (model.inputs, model.outputs))
    return inputs, outputs


def can_teach(task: Task) -> bool:
    """Returns whether soft targets can be made from the outputs of the task's original model.

    If its outputs are not probabilities, the loss has to be a cross-entropy: outputs trained by squared error are no
    logits.
    """
    try:
        check_outputs(task, (), "")
    except ValueError:
        return False
    return "crossentropy" in task.objective.name.replace("_", "") or last_activation(task.original) != "linear"


def check_outputs(task: Task, models: Sequence[keras.Model], advice: str) -> None:
    """Refuses models whose outputs cannot be turned into soft targets.

    Args:
        task: the task.
        models: students and teachers, in addition to the task's own model.
        advice: a sentence on what to do, to end the message.
    """
    for model in (task.original, *models):
        logits_of(model)
    objective = task.objective
    has_accuracy = objective.score is None and names_accuracy(str(objective.metric_name))
    if not has_accuracy and "crossentropy" not in objective.name.replace("_", ""):
        raise ValueError(
            "Expected a classifier, to distil its outputs as probabilities. Received: a model with loss "
            f"{objective.name!r}. {advice}"
        )


def _check_hints(
    teaching: Teaching,
    task: Task,
    models: Sequence[keras.Model],
    removed: Sequence[Sequence[str]],
    replaced: Sequence[str],
) -> None:
    graph = task.network_of(task.original).graph
    names = _hint_layers(teaching, graph)
    for name in names:
        if name not in graph.nodes:
            known = list(graph.nodes)
            raise ValueError(
                f"Expected `hints` among the layers of the model {task.original.name!r}. Received: {name!r}. Some of "
                f"them: {', '.join(known[:: max(1, len(known) // 8)])}."
            )
    for nodes in removed:
        if inside := [name for name in _passed(names, graph, nodes) if name in set(nodes)]:
            raise ValueError(
                f"Expected `hints` among the layers that the student keeps. Received: {inside}, which lie inside what "
                "is removed. Name the last layer of a block, or hints='sections'."
            )
    if lost := [name for name in names if name in set(replaced)]:
        raise ValueError(
            f"Expected `hints` among the layers that the student keeps. Received: {lost}, which may be replaced. "
            "Name later layers, such as an activation or a sum, or keep these unchanged: exclude=."
        )
    own = Points(task.network_of(task.original), names)
    for model in models:
        missing = [name for name in names if name not in task.network_of(model).graph.nodes]
        if missing:
            raise ValueError(
                f"Expected `hints` among the layers of the model {model.name!r} too. Received: {missing}, which it "
                "does not have. Name layers that both have, or leave hints= out."
            )
        given = Points(task.network_of(model), names)
        for number, name in enumerate(names):
            if own.shape(number)[1:-1] != given.shape(number)[1:-1]:  # batch and channels may differ
                raise ValueError(
                    "Expected hints of equal shape, except for channels. Received: "
                    f"{name!r} of {task.original.name!r} with {own.shape(number)}, and of {model.name!r} with "
                    f"{given.shape(number)}. Name other layers."
                )
