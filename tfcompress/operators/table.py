"""`OperatorTable`: latencies of LiteRT's operators over their widths on one device, kept in a file."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tfcompress import expect
from tfcompress.costs.latency import device as this_device

__all__ = ["Correction", "OperatorTable"]

_FORMAT = 2
_Axes = tuple[npt.NDArray[np.int64], ...]
_Grid = tuple[_Axes, npt.NDArray[np.float64]]
_DESCRIPTION = ("operator", "settings", "inputs", "outputs", "integers")


@dataclass(frozen=True)
class Correction:
    """How operators in their network differ from the same operators alone, and how well that predicts.

    Attributes:
        factors: a factor for each kind of operator, as in "CONV_2D"; "rest" for all that are not named.
        less_ns: nanoseconds that an operator takes less than alone.
        byte_ns: nanoseconds for each byte of its inputs and outputs.
        per_byte: share by which all operators take longer for each byte of the network's weights.
        plans: number of whole networks that were measured; a part of them were not used to fit.
        errors: relative errors of the prediction for those that were not used.
    """

    factors: Mapping[str, float]
    less_ns: float
    byte_ns: float
    plans: int
    errors: tuple[float, ...]
    per_byte: float = 0.0

    def __str__(self) -> str:
        if not self.errors:
            return "not compared with whole networks"
        off = np.abs(self.errors)
        return (
            f"median error {np.median(off):.1%}, {np.mean(off <= 0.05):.0%} within 5%, {np.mean(off <= 0.1):.0%} "
            f"within 10%, of {len(off)} whole networks that it was not fitted to"
        )


class OperatorTable:
    """Latencies of operators over their widths, measured when they are first needed.

    A table belongs to one device, batch size and number of threads. A table of another device is only read.

    Args:
        path: a JSON file, see docs/latency.md; read if it exists, else created. `None` for a table in memory.
        batch: samples in one invocation; `None` for the file's, or 1.
        threads: threads of the interpreter; `None` for the file's, or 1.

    Attributes:
        device: the machine and programs that it was measured on, as `tfcompress.costs.device()`.

    Raises:
        ValueError: the file is no such table, or was measured with another batch size or number of threads.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, batch: int | None = None, threads: int | None = None
    ) -> None:
        self.path: pathlib.Path | None = expect.path("path", path, or_none=True)
        asked = {
            "batch": expect.whole("batch", batch, 1, or_none=True),
            "threads": expect.whole("threads", threads, 1, or_none=True),
        }
        self.device: Mapping[str, str] = this_device()
        self.overhead_ns: float | None = None
        self._operators: dict[str, dict[str, Any]] = {}
        self._networks: dict[str, dict[str, Any]] = {}
        stored: Mapping[str, Any] = {}
        if self.path is not None and self.path.exists():
            stored = self._read(self.path)
        for name, value in asked.items():
            if value is not None and stored and stored[name] != value:
                expect.refuse(name, f"that of {self.path}, {stored[name]}", value, "Give another path.")
        self.batch, self.threads = (stored.get(name) or asked[name] or 1 for name in ("batch", "threads"))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Returns the table of a file, such as one that was measured on another device.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no such table.
        """
        place: pathlib.Path = expect.path("path", path)
        if not place.exists():
            raise FileNotFoundError(f"Expected a latency table. Received: path={str(path)!r}, where there is no file.")
        return cls(place)

    @property
    def is_of_this_device(self) -> bool:
        """Whether it was measured with this machine and these versions, so that it may grow."""
        return dict(self.device) == this_device()

    @property
    def entries(self) -> tuple[Mapping[str, Any], ...]:
        """All operators, as in the file."""
        return tuple(self._operators.values())

    def difference(self, later: OperatorTable) -> str:
        """Returns in words how another table contradicts this one, "" if it does not; either may have more operators.

        Args:
            later: the table to compare with.
        """
        mine, its = ({**each.device, "batch": each.batch, "threads": each.threads} for each in (self, later))
        for name in mine | its:
            if mine.get(name) != its.get(name):
                return f"{name} is {its.get(name)!r}, not {mine.get(name)!r}"
        both = [key for key in self._operators if key in later._operators]
        if not all(self._operators[key] == later._operators[key] for key in both):
            return "the same device with other latencies"
        return ""

    def find(self, description: Mapping[str, Any], most: list[int]) -> _Grid | None:
        """Returns widths and nanoseconds of an operator, or `None` if it is not in the table up to these widths."""
        entry = self._operators.get(_key(description))
        if entry is None or any(axis[-1] < width for axis, width in zip(entry["widths"], most, strict=True)):
            return None
        return tuple(np.array(axis, np.int64) for axis in entry["widths"]), np.array(entry["ns"], np.float64)

    def add(self, description: Mapping[str, Any], grid: _Grid) -> None:
        """Adds an operator, in place of one with the same description."""
        widths, ns = [axis.tolist() for axis in grid[0]], np.round(grid[1], 1).tolist()
        self._operators[_key(description)] = {**description, "widths": widths, "ns": ns}

    def correction(self, network: str) -> Correction | None:
        """Returns the correction for a network, by its digest."""
        entry = self._networks.get(network)
        return None if entry is None else Correction(**{**entry, "errors": tuple(entry["errors"])})

    def correct(self, network: str, correction: Correction) -> None:
        """Adds the correction for a network, by its digest."""
        self._networks[network] = {**vars(correction), "errors": [round(each, 4) for each in correction.errors]}

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Writes the table beside a path, `self.path` by default, and renames it; does nothing without a path."""
        to = self.path if path is None else expect.path("path", path)
        if to is None:
            return
        content = {
            "format": _FORMAT,
            "device": dict(self.device),
            "batch": self.batch,
            "threads": self.threads,
            "overhead_ns": self.overhead_ns,
            "operators": list(self._operators.values()),
            "networks": self._networks,
        }
        to.parent.mkdir(parents=True, exist_ok=True)
        part = to.with_name(f"part.{os.getpid()}.{to.name}")
        part.write_text(json.dumps(content) + "\n", encoding="utf-8")
        part.replace(to)

    def _read(self, path: pathlib.Path) -> Mapping[str, Any]:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != _FORMAT:
                raise ValueError
            self.device = {str(name): str(value) for name, value in data["device"].items()}
            self.overhead_ns = data.get("overhead_ns")
            for entry in data["operators"]:
                _check(entry)
                self._operators[_key(entry)] = entry
            self._networks = dict(data.get("networks", {}))
            for network in self._networks:
                self.correction(network)
            stored: Mapping[str, Any] = {name: expect.whole(name, data[name], 1) for name in ("batch", "threads")}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f": {error}" if str(error) else ""
            raise ValueError(
                f"Expected a table of operators of format {_FORMAT} (docs/latency.md). Received: {path}, which is not "
                f"one{why}. Give another path, or remove the file: operators are measured again."
            ) from error
        return stored


def _key(description: Mapping[str, Any]) -> str:
    return json.dumps([description[name] for name in _DESCRIPTION], sort_keys=True)


def _check(entry: Mapping[str, Any]) -> None:
    """Refuses an entry whose numbers are not a table over ascending widths."""
    widths, ns = [np.array(axis, np.int64) for axis in entry["widths"]], np.array(entry["ns"], np.float64)
    if (
        list(ns.shape) != [len(axis) for axis in widths]
        or any(len(axis) == 0 or axis[0] < 1 or (np.diff(axis) <= 0).any() for axis in widths)
        or not np.isfinite(ns).all()
        or (ns < 0).any()
    ):
        raise ValueError(
            f"the entry of {entry['operator']} has to have ascending widths and a number of nanoseconds for each"
        )
