"""The substitute for a run folder, for runs without one."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Self

import keras

from tfcompress.plan import Plan, Trail
from tfcompress.training.checkpoints import Checkpoints

__all__ = ["NoRunFolder"]


class NoRunFolder:
    """The substitute for a run folder: keeps JSON in memory, drops everything else."""

    path = None
    is_finished = False

    def __init__(self) -> None:
        self._json: dict[str, str] = {}

    def close(self) -> None:
        """Does nothing, because there is nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def earlier(self) -> None:
        """`None`: there is no earlier call."""
        return None

    def begin(self, fingerprint: Mapping[str, Any]) -> None:
        """Does nothing, because such a run cannot be continued."""

    def has(self, name: str) -> bool:
        """Whether `write_json(name, ...)` was called."""
        return name in self._json

    def write_json(self, name: str, obj: Any) -> None:
        """Keeps a copy of `obj`."""
        self._json[name] = json.dumps(obj)

    def read_json(self, name: str) -> Any:
        """Returns the data that `write_json` was given."""
        return json.loads(self._json[name])

    def recall(self, name: str, note: Callable[[str], None]) -> Any:
        """Returns the data that `write_json` was given, or `None`."""
        return self.read_json(name) if self.has(name) else None

    def plan_to_json(self, plan: Plan) -> str:
        """A plan as text."""
        return plan.to_json()

    def plan_from_json(self, text: str) -> Plan:
        """Returns the plan from text that `plan_to_json` returned."""
        return Plan.from_json(text)

    def trail_to_json(self, trail: Trail) -> str:
        """A trail as text."""
        return trail.to_json()

    def trail_from_json(self, text: str) -> Trail:
        """Returns the trail from text that `trail_to_json` returned."""
        return Trail.from_json(text)

    def has_model(self, name: str) -> bool:
        """False: models are not kept."""
        del name
        return False

    def save_model(self, name: str, model: keras.Model) -> str | None:
        """Keeps nothing: the caller has the model."""

    def load_weights(self, name: str, model: keras.Model, checksum: str | None = None) -> None:
        """Does nothing: weights are never stored.

        Raises:
            KeyError: always.
        """
        raise KeyError(f"Expected a run with a run_dir. Received: load_weights({name!r}) in a run without one.")

    def checkpoints(self, phase: str) -> Checkpoints | None:
        """None: such a run is not resumed."""
        del phase
        return None

    def tensorboard(self, phase: str) -> pathlib.Path | None:
        """None: such a run writes no logs."""
        del phase
        return None
