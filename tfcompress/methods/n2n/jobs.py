"""The jobs of N2N that run in other processes."""

from __future__ import annotations

import functools
import gc
import importlib
import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

__all__ = ["opened", "scored"]


@functools.lru_cache(maxsize=1)
def _scoring(setup: str) -> Any:
    """Returns the scoring of students for the task of a search, from the description by `Elsewhere`."""
    description = json.loads(pathlib.Path(setup).read_text(encoding="utf-8"))
    if description["is_deterministic"]:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    import keras

    for module in description["modules"]:
        importlib.import_module(module)
    from tfcompress.channels import Control
    from tfcompress.data.elsewhere import reopened
    from tfcompress.methods.n2n.scoring import Scoring
    from tfcompress.task import Task
    from tfcompress.training import Training

    keras.config.set_dtype_policy(description["policy"])
    teacher = _model(description["teacher"])
    task = Task(
        teacher,
        reopened(description["data"]),
        _objective(description["objective"]),
        control=Control(through_norms=description["through_norms"]),
        seed=description["seed"],
        given=teacher,
    )
    return Scoring(task, Training(**description["training"]), description["inherit"], description["soft"])


@functools.lru_cache(maxsize=2)
def _network(path: str, through_norms: bool) -> Any:
    from tfcompress.network import Network

    return Network(_model(path), through_norms)


def _model(path: str) -> Any:
    import keras

    import tfcompress.layers  # noqa: F401  registers the mixture

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _objective(description: Mapping[str, Any]) -> Any:
    import keras

    from tfcompress.data.elsewhere import imported
    from tfcompress.training import Objective

    metric = description["metric"]

    def read(serialized: Any) -> Any:
        if isinstance(serialized, dict) and "imported" in serialized:
            return imported(serialized["imported"])
        return keras.saving.deserialize_keras_object(serialized)

    return Objective(
        **{
            **description,
            "loss": read(description["loss"]),
            "metric": metric if metric is None or isinstance(metric, str) else lambda: read(metric),
            "loss_weights": read(description["loss_weights"]),
            "score": imported(description["score"]),
        }
    )


def opened(setup: str) -> dict[str, Any]:
    """Opens everything that a student needs; returns values to compare this process with the one that asks."""
    task = _scoring(setup).task
    task.splits.train.batches()
    return {"params": task.model.count_params(), "metric": task.objective.metric_name}


def scored(
    setup: str, network: str, plan: str, params: int, epochs: int, state: str | None, student: str
) -> dict[str, Any]:
    """Builds, trains and measures a student.

    Args:
        setup: file of the task.
        network: file of the model that the plan applies to.
        plan: the plan, as text.
        params: number of parameters that the student must have.
        epochs: epochs of its training, including earlier ones.
        state: folder of the training state, to continue from and to write to; `None` for a training without
            interruption.
        student: file for the trained student.

    Returns:
        Its metric, and the seconds that it took.
    """
    import keras

    from tfcompress.costs import cost
    from tfcompress.plan import Plan

    start = time.monotonic()
    scoring = _scoring(setup)
    built = scoring.built(_network(network, scoring.task.control.through_norms), Plan.from_json(plan))
    if cost(built).params != params:
        raise RuntimeError(
            f"Expected a student with {params} parameters. Received: {cost(built).params}. This is a bug: report it."
        )
    metric = scoring.train(built, epochs, None if state is None else pathlib.Path(state))
    path = pathlib.Path(student)
    part = path.with_suffix(".part.keras")
    built.save(part)
    part.replace(path)
    del built
    keras.utils.clear_session(free_memory=False)  # the next line does
    gc.collect()
    return {"metric": metric, "seconds": time.monotonic() - start}
