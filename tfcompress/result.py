"""`Result`: the compressed model, what it cost before and after, and how it came about."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tfcompress import expect, result_files
from tfcompress.costs.budget import Budget
from tfcompress.costs.file_size import FILE
from tfcompress.export import ExportMismatch, ExportReport, Metadata, MetricError
from tfcompress.export import export as write_exports
from tfcompress.finished_stage import FinishedStage
from tfcompress.measured import Measured, file_size, measurements_of
from tfcompress.methods import Candidate
from tfcompress.plan import Trail
from tfcompress.report.layers import LayerFacts
from tfcompress.report.page import write_page
from tfcompress.report.pictures import draw
from tfcompress.report.result_table import as_html, as_text, rows_of
from tfcompress.report.spectrum import least_of
from tfcompress.report.stage_table import stage_rows
from tfcompress.report.table import fitted, html_table
from tfcompress.task import WARNING

__all__ = ["Measured", "Result"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The result of `tfcompress.compress`.

    Attributes:
        model: the compressed `keras.Model`, made of stock Keras layers; it loads where only Keras is installed.
        trail: the plans that lead from the given model to this one, each for the model that the one before left. Its
            weights come from "model.keras", which `save` writes: `tfcompress.rewrite.replay` builds the model again.
        candidates: the answers of the search: each a trail with its cost, its score, and its model if it was trained.
        before: cost and accuracy of the model that was given.
        after: cost and accuracy of `model`.
        history: `{"search": logs by epoch, "recover": logs by epoch}`.
        metric: name of the metric that `accuracy` holds.
        method: name of the method.
        settings: settings of the method.
        seed: the random seed.
        budget: the limits as they were given, by metric: shares of the original as floats, absolute numbers as ints.
        control: the settings that say which channels may be removed, `through_norms` included: `Control.settings()`,
            without those left at their defaults.
        notes: remarks on the run: the splits, warnings, decisions.
        calibration: inputs for int8 export.
        held_out: `(x, y)` of some hundred samples of the test split, or else of the validation split, on which exported
            files are compared; `None` if the result has none: then the calibration inputs are used.
        measure: `metric` as a function `(y, outputs) -> float` of all labels and outputs, or `None`. A loaded result
            takes it from the metrics that its model is compiled with.
        higher_is_better: whether a larger `metric` means a better model.
        files: contents of the TFLite files that the method made, by what they are: `"sparse"` for a float32 file
            without the zeros of its weights, `"qat"` for the int8 file of a network that was trained quantized.
        layers_before: the layers of the model that was given: name, class, channels, multiply-adds, parameters. Empty
            for a result that an earlier version saved, until it is loaded with `model=`.
        stages: of a flow its stages in figures, in their order; empty for a run of one method.
    """

    model: keras.Model
    trail: Trail
    candidates: tuple[Candidate, ...]
    before: Measured
    after: Measured
    history: dict[str, dict[str, list[Any]]]
    metric: str
    method: str
    settings: dict[str, Any]
    seed: int
    budget: dict[str, float | int]
    control: dict[str, Any]
    notes: tuple[str, ...]
    calibration: Any
    held_out: tuple[Any, Any] | None = None
    measure: Callable[[Any, Any], Any] | None = None
    higher_is_better: bool = True
    layers_before: tuple[LayerFacts, ...] = ()
    stages: tuple[FinishedStage, ...] = ()
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join([self.table(), *[""] * (not self._warnings), self._next])

    def __repr__(self) -> str:
        return f"<Result of {self._title}: {self.after.macs:,} of {self.before.macs:,} MACs>"

    def _repr_html_(self) -> str:
        stages = html_table(stage_rows(self), has_style=False) if self.stages else ""
        return as_html(self._title, self._rows, [*self._warnings, self._next], stages)

    def table(self) -> str:
        """Returns the table, of a flow that of its stages too, with the warnings below it, as text."""
        stages = ["", *fitted(stage_rows(self), left=1)] if self.stages else []
        return as_text(self._title, self._rows, [*stages, *(["", *self._warnings] if self._warnings else [])])

    @property
    def _title(self) -> str:
        return f"{self.method}, seed {self.seed}"

    @property
    def _rows(self) -> list[tuple[str, str, str, str]]:
        return rows_of(self.before, self.after, self.metric)

    @property
    def _warnings(self) -> list[str]:
        return [note for note in self.notes if note.startswith(WARNING)]

    @property
    def _next(self) -> str:
        """The suggested next steps."""
        return (
            "Next: result.export(folder) writes and checks TFLite, SavedModel and .keras files; result.save(folder) "
            f"keeps the result; result.notes says how it came about ({len(self.notes)} notes)."
        )

    def summary(self) -> None:
        """Prints cost and accuracy before and after, warnings, and what to do next; the rest is in `notes`."""
        print(self)

    def plot(self, what: str = "history", path: str | os.PathLike[str] | None = None) -> Any:
        """Draws a picture of the run.

        Args:
            what: "history", the metric over search and recovery beside the original's; "structure", the channels that
                each layer keeps, and which layers were removed or replaced; "spectrum" and "changes", the candidates
                of a search, with their scores and the changes to each layer; "updates" and "students", the students of
                `method="n2n"`; "stages", metric and costs after each stage of a flow.
            path: the file to write, its ending gives the format (.png, .svg, .pdf); `None` for no file.

        Returns:
            The matplotlib figure, which Jupyter shows.

        Raises:
            ValueError: an unknown picture, or one that this result has no data for; the message says why.
        """
        return draw(self, what, path)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Writes everything about the run into one HTML page, which loads nothing else and can be read on a phone.

        It has the table, the pictures, the numbers of the history, the changes to each layer, the notes, and the call
        that repeats the run.

        Args:
            path: where the page goes, such as "report.html"; an older one is replaced. In the folder of a saved result
                the page is part of the result, which `save` replaces as a whole.

        Raises:
            ValueError: the name does not end with .html.
            FileNotFoundError: the folder does not exist.
        """
        write_page(self, path)

    def export(
        self,
        path: str | os.PathLike[str],
        formats: str | Sequence[str] = ("keras", "saved_model", "tflite"),
        quantize: str | Sequence[str | None] | None = (None,),
        metric: Callable[[Any, Any], Any] | None = None,
        integer_io: str | None = None,
        recipe: Any = None,
        metadata: Metadata | None = None,
        on_mismatch: str = "error",
    ) -> ExportReport:
        """Writes the model for other runtimes; every file is read back, run, and compared with the model.

        Args:
            path: a folder.
            formats: any of `"keras"`, `"saved_model"`, `"tflite"`, and with the extra `onnx` `"onnx"`.
            quantize: for TFLite, any of `None` (float32), `"float16"`, `"dynamic"`, `"int8"`, `"int16x8"`, `"sparse"`,
                and with the extra `quantizer` `"int4"` and `"mixed"`; see `tfcompress.export.convert`. The files of the
                result itself (`files`) are always among them.
            metric: the quality of outputs, `(y, outputs) -> float`, for a loaded result that no longer has its metric,
                because that was a function of the caller. Larger is better if `higher_is_better`.
            integer_io: the type of inputs and outputs of int8 files: `"int8"`, `"uint8"`, or None for float32.
            recipe: rules of ai-edge-quantizer for `"mixed"`, as a list or a JSON file, in place of ours.
            metadata: labels, range and normalisation of inputs for the TFLite files; method, seed, budget and trail of
                this result are added to its provenance.
            on_mismatch: `"error"` or `"warn"`: what follows where a file does not compute what the model computes.

        Returns:
            An `ExportReport`: for each file its size, the largest difference of outputs, the agreement of top-1
            answers, the task's metric, and what stayed in float32, on held-out samples.

        Raises:
            ExportMismatch: a file does not compute what the model computes; all files lie in the folder, and the error
                has the report. For the other errors see `tfcompress.export.export`.
        """
        facts = expect.instance("metadata", metadata or Metadata(), Metadata, "a tfcompress.export.Metadata")
        facts = dataclasses.replace(facts, provenance={**self._provenance, **facts.provenance})

        def write(note: str, samples: Any = None, labels: Any = None, measure: Any = None) -> ExportReport:
            try:
                report = write_exports(
                    self.model,
                    path,
                    formats,
                    quantize,
                    self.calibration,
                    samples,
                    labels,
                    measure,
                    bool(self.higher_is_better),
                    integer_io=integer_io,
                    recipe=recipe,
                    metadata=facts,
                    on_mismatch=on_mismatch,
                    ready=self.files,
                )
            except ExportMismatch as error:
                error.report = error.report.noted(note)
                raise
            return report.noted(note)

        if self.held_out is None:
            return write("This result holds no labels to measure files with.")
        x, y = self.held_out
        own = self.measure or (_compiled_measure(self.model, self.metric) if self.model.compiled else None)
        if metric is not None:
            return write("Compared on held-out samples.", x, y, metric)
        if own is not None and self.metric:
            named = _named(own, self.metric)
            with contextlib.suppress(MetricError):
                return write("Compared on held-out samples.", x, y, named)
        lost = f"{self.metric} is no longer known, pass it as metric=" if self.metric else "the task has no metric"
        return write(f"Compared on held-out samples by outputs alone: {lost}.", x)

    @property
    def _provenance(self) -> dict[str, Any]:
        """How the model came about, for the metadata of files."""
        return {
            "methods": [stage.method for stage in self.stages] or [self.method],
            "seed": self.seed,
            "budget": dict(self.budget),
            "trail": json.loads(self.trail.to_json()),
        }

    def pick(
        self,
        flops_budget: float | int | None = None,
        params_budget: float | int | None = None,
        budget: Mapping[str, float | int] | None = None,
    ) -> Result:
        """Returns another answer of the search that was trained, without training again.

        Args:
            flops_budget: upper limit for FLOPs: a share of the original, or an absolute number, as for `compress`.
            params_budget: the same for parameters.
            budget: `{metric: limit}` for any metric, as for `compress`. Without a limit everything that was trained
                counts.

        Returns:
            The model with the best metric on the validation split among this result and those candidates that have a
            model and are within the budget; without a metric, the one with the most MACs. It is saved and exported
            like any other result. Its accuracy is the candidate's score; the test split is not read again.

        Raises:
            ValueError: no trained model is within the budget; the message lists the trained ones. Or a limit is a share
                of a metric that was not measured for the original.
        """
        limited, before = Budget(budget, flops=flops_budget, params=params_budget), self.before.cost
        counted = Budget({name: limited[name] for name in limited if name not in limited.measured})
        known = {name: number for name, number in self.before.on_device.items() if name == FILE}
        limits = counted.limits(before) | limited.measured_limits({**known, **self.before.measurements})
        others = (self._of(candidate) for candidate in self.candidates if candidate.model is not None)
        trained = [result._measured(limited) for result in (self, *others)]
        within = [r for r in trained if all(r.after[metric] <= limit for metric, limit in limits.items())]
        if not within:
            count = len(self.candidates)
            given = ", ".join(map(limited.said, limited))
            least = least_of([r.after.cost for r in trained], before, limits)
            raise ValueError(
                f"Expected a budget that a student trained by {self.method!r} can meet: {least}. Received: {given}; "
                f"of {count} candidates {len(trained) - 1} have weights. Call compress again with this budget."
            )
        sign = 1 if self.higher_is_better else -1
        scores = {id(r): r.after.validation_accuracy for r in within}
        picked = max(within, key=lambda r: (sign * (scores[id(r)] or 0.0), r.after.macs))
        if picked is self or not self.before.on_device:
            return picked
        # Latency is that of the run's machine, which this one need not be; a file has one size everywhere.
        return dataclasses.replace(picked, after=dataclasses.replace(picked.after, on_device=file_size(picked.model)))

    def _measured(self, budget: Budget) -> Result:
        """Returns this result with the measurements that a budget limits; missing ones are made."""
        if self.after.measurements.keys() >= set(budget.measured):
            return self
        measurements = {**self.after.measurements, **measurements_of(self.model, budget)}
        return dataclasses.replace(self, after=dataclasses.replace(self.after, measurements=measurements))

    def _of(self, candidate: Candidate) -> Result:
        """Returns this result with a candidate's model in place of its own."""
        assert candidate.model is not None
        return dataclasses.replace(
            self,
            model=candidate.model,
            trail=candidate.trail.ending_with(result_files.MODEL),
            after=Measured.of(candidate.cost, candidate.score, None),
            history={**self.history, "recover": {}},
            files={},
            notes=(*self.notes, f"Picked from the candidates of the search: {candidate.origin}."),
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the result into a folder, which `Result.load` reads; an older result there is replaced as a whole.

        A Lambda layer whose function consists of operators and `keras.ops` is written as these operations, because
        Keras does not read functions back. If another Lambda layer remains, a warning says how to load the result.

        Args:
            folder: a new or empty folder, or that of an older result; a link to a folder counts as that folder.

        Raises:
            FileExistsError: something in the folder was not written by `save`, or was changed since; nothing has been
                touched.
            OSError: the folder cannot be written; its old content is still there.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["measure"]  # a function, which a loaded result has from what its model is compiled with
        result_files.write(folder, **fields)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: keras.Model | None = None) -> Result:
        """Loads a result that `save` wrote, or the result in the run folder of a finished run.

        Args:
            folder: the folder of the result, or of the run.
            model: the model that was compressed, needed if Keras cannot build the compressed model from its file
                because of a Lambda with code of its own, or a layer whose class is not registered. The model is then
                rebuilt by the plan, with the weights from the file.

        Raises:
            FileNotFoundError: the folder holds no result.
            ValueError: a file is damaged or missing, or belongs to another result; the message names it. Or Keras
                cannot build the model, or `model` is not the one that was compressed.
        """
        return cls(**result_files.read(folder, model))


def _compiled_measure(model: keras.Model, name: str) -> Callable[[Any, Any], float]:
    """Returns the metric of this name that a model is compiled with, as a function `(y, outputs) -> float`.

    Calling it raises KeyError if there is no such metric. It resets the metric's state in the model.
    """

    def measure(y: Any, outputs: Any) -> float:
        model.reset_metrics()
        value = model.compute_metrics(x=None, y=y, y_pred=outputs, sample_weight=None)[name]
        model.reset_metrics()
        return float(value)

    return measure


def _named(function: Callable[[Any, Any], Any], name: str) -> Callable[[Any, Any], Any]:
    """Returns the function with a name for the report."""

    def named(y: Any, outputs: Any) -> Any:
        return function(y, outputs)

    named.__name__ = name
    return named
