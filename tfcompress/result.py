"""`Result`: the compressed model, what it cost before and after, and how it came about."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tfcompress import result_files
from tfcompress.costs.budget import Budget
from tfcompress.export import ExportReport, MetricError
from tfcompress.export import export as write_exports
from tfcompress.measured import Measured, file_size, measurements_of
from tfcompress.methods import Candidate
from tfcompress.plan import Trail
from tfcompress.report.layers import LayerFacts
from tfcompress.report.page import write_page
from tfcompress.report.pictures import draw
from tfcompress.report.result_table import as_html, as_text, rows_of
from tfcompress.report.spectrum import least_of
from tfcompress.task import WARNING

__all__ = ["Measured", "Result"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The answer of `tfcompress.compress`.

    Attributes:
        model: the compressed `keras.Model`: stock Keras layers, loads where only Keras is installed.
        trail: the plans from the model that was given to this one, each of what the one before left. Its weights come
            from "model.keras", which `save` writes: `tfcompress.rewrite.replay` builds the model again.
        candidates: the answers of the search, each a trail with its cost and score, and where it was trained its model.
        before: cost and accuracy of the model as it was given.
        after: those of `model`.
        history: `{"search": logs by epoch, "recover": logs by epoch}`.
        metric: name of the metric that `accuracy` stands for.
        method: name of the method.
        settings: its settings.
        seed: the seed.
        budget: the limits as they were given, by metric: shares of the original as floats, absolute numbers as ints.
        control: what of the channels might be removed, `through_norms` among it: `Control.settings()`, without those
            that were left as they are.
        notes: what should be known of the run: the splits, warnings, decisions.
        calibration: inputs for int8 export.
        held_out: `(x, y)` of some hundred samples of the test split, or else of the validation split, on which exported
            files are compared; `None` where a result has none, then the calibration inputs serve.
        measure: `metric` as a function `(y, outputs) -> float` of all labels and outputs, or `None`. A loaded result
            has it from what its model is compiled with.
        higher_is_better: whether a larger `metric` means a better model.
        layers_before: the layers of the model as it was given: name, class, channels, multiply-adds, parameters. None
            in a result that an earlier version saved, until it is loaded with `model=`.
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

    def __str__(self) -> str:
        return "\n".join([self.table(), *[""] * (not self._warnings), self._next])

    def __repr__(self) -> str:
        return f"<Result of {self._title}: {self.after.macs:,} of {self.before.macs:,} MACs>"

    def _repr_html_(self) -> str:
        return as_html(self._title, self._rows, [*self._warnings, self._next])

    def table(self) -> str:
        """The table with the warnings below it, as text."""
        return as_text(self._title, self._rows, ["", *self._warnings] if self._warnings else [])

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
        """The steps that follow."""
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
                each layer keeps, and which layers were removed or replaced; "spectrum" and "changes", the candidates of
                a search, what they are worth and what became of each layer in each; "updates" and "students", the
                students of `method="n2n"`.
            path: where the picture goes, its ending gives the format (.png, .svg, .pdf); `None` for no file.

        Returns:
            The matplotlib figure, which Jupyter shows.

        Raises:
            ValueError: no such picture, or nothing in this result that it could show; the message says why.
        """
        return draw(self, what, path)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Writes all of the run into one page in HTML, which loads nothing and can be read on a phone.

        It has the table, the pictures, the numbers of the history, what became of each layer, the notes, and the call
        that repeats the run.

        Args:
            path: where the page goes, such as "report.html"; an older one is replaced. In the folder of a saved result
                the page is part of the result, which `save` replaces as a whole.

        Raises:
            ValueError: a name that does not end with .html.
            FileNotFoundError: no such folder.
        """
        write_page(self, path)

    def export(
        self,
        path: str | os.PathLike[str],
        formats: str | Sequence[str] = ("keras", "saved_model", "tflite"),
        quantize: str | Sequence[str | None] | None = (None,),
        metric: Callable[[Any, Any], Any] | None = None,
    ) -> ExportReport:
        """Writes the model for other runtimes; every file is read back, run, and compared with the model.

        Args:
            path: a folder.
            formats: any of `"keras"`, `"saved_model"`, `"tflite"`.
            quantize: for TFLite, any of `None` (float32), `"float16"`, `"dynamic"`, `"int8"`.
            metric: how good outputs are, `(y, outputs) -> float`, where a loaded result does not know its own metric
                any more: it was a function of the caller's. Larger is better if `higher_is_better`.

        Returns:
            An `ExportReport`: for each file its size, the largest difference of outputs, the agreement of top-1
            answers, and the task's metric, on held-out samples.
        """
        inputs = self.calibration
        if self.held_out is None:
            report = write_exports(self.model, path, formats, quantize, inputs)
            return report.noted("This result holds no labels to measure files by.")
        x, y = self.held_out
        own = self.measure or (_compiled_measure(self.model, self.metric) if self.model.compiled else None)
        if metric is not None:
            report = write_exports(self.model, path, formats, quantize, inputs, x, y, metric, self.higher_is_better)
            return report.noted("Compared on held-out samples.")
        if own is not None and self.metric:
            named = _named(own, self.metric)
            with contextlib.suppress(MetricError):
                report = write_exports(self.model, path, formats, quantize, inputs, x, y, named, self.higher_is_better)
                return report.noted("Compared on held-out samples.")
        report = write_exports(self.model, path, formats, quantize, inputs, x)
        lost = f"{self.metric} is not known any more, metric= gives it" if self.metric else "the task has no metric"
        return report.noted(f"Compared on held-out samples by outputs alone: {lost}.")

    def pick(
        self,
        flops_budget: float | int | None = None,
        params_budget: float | int | None = None,
        budget: Mapping[str, float | int] | None = None,
    ) -> Result:
        """Takes another answer of the search that was trained, without training again.

        Args:
            flops_budget: upper limit for FLOPs: a share of the original, or an absolute number, as for `compress`.
            params_budget: the same for parameters.
            budget: `{metric: limit}` for any metric, as for `compress`. Without a limit all that was trained counts.

        Returns:
            Of this result and the candidates that have a model the one within the budget with the best metric on the
            validation split, and without a metric the one with the most MACs: as a result that is saved and exported
            like any other. Its accuracy is the candidate's score; the test split is not read again.

        Raises:
            ValueError: nothing that was trained is within the budget; the message says what is there. Or a share of
                what the original was not measured for.
        """
        limited, before = Budget(budget, flops=flops_budget, params=params_budget), self.before.cost
        limits = limited.limits(before) | limited.measured_limits(self.before.measurements)
        others = (self._of(candidate) for candidate in self.candidates if candidate.model is not None)
        trained = [result._measured(limited) for result in (self, *others)]
        within = [r for r in trained if all(r.after[metric] <= limit for metric, limit in limits.items())]
        if not within:
            count = len(self.candidates)
            given = ", ".join(map(limited.said, limited))
            least = least_of([r.after.cost for r in trained], before, limits)
            raise ValueError(
                f"Expected a budget that holds a student that {self.method!r} has trained: {least}. Received: {given}; "
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
        """This result with the measurements that a budget limits, which are taken where they are missing."""
        if self.after.measurements.keys() >= set(budget.measured):
            return self
        measurements = {**self.after.measurements, **measurements_of(self.model, budget)}
        return dataclasses.replace(self, after=dataclasses.replace(self.after, measurements=measurements))

    def _of(self, candidate: Candidate) -> Result:
        """This result with a candidate's model in place of its own."""
        assert candidate.model is not None
        return dataclasses.replace(
            self,
            model=candidate.model,
            trail=candidate.trail.ending_with(result_files.MODEL),
            after=Measured.of(candidate.cost, candidate.score, None),
            history={**self.history, "recover": {}},
            notes=(*self.notes, f"Picked from the candidates of the search: {candidate.origin}."),
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the result into a folder, which `Result.load` reads; an older result there is replaced as a whole.

        A Lambda layer whose function is made of operators and `keras.ops` is written as these operations, as Keras
        does not read functions back. Where another one is left, a warning says how the result is loaded.

        Args:
            folder: a new or empty folder, or that of an older result; a link to one stands for it.

        Raises:
            FileExistsError: something in the folder is not of a result that `save` wrote, or has been changed since;
                nothing has been touched.
            OSError: the folder cannot be written; what was there before is there still.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["measure"]  # a function, which a loaded result has from what its model is compiled with
        result_files.write(folder, **fields)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: keras.Model | None = None) -> Result:
        """Reads what `save` wrote; a run folder of a finished run will do as well.

        Args:
            folder: the folder of the result, or of the run.
            model: the model that was compressed, which is needed where Keras cannot make the compressed one from its
                file: it has a Lambda with code of its own, or a layer whose class is not registered. It is rebuilt by
                the plan then; the weights come from the file.

        Raises:
            FileNotFoundError: no result there.
            ValueError: a file is damaged or missing, or belongs to another result; the message names it. Or Keras
                cannot make the model, or `model` is not the one that was compressed.
        """
        return cls(**result_files.read(folder, model))


def _compiled_measure(model: keras.Model, name: str) -> Callable[[Any, Any], float]:
    """The metric of this name that a model is compiled with, as a function `(y, outputs) -> float`.

    Calling it raises KeyError where there is no such metric. The model's own record of metrics is reset.
    """

    def measure(y: Any, outputs: Any) -> float:
        model.reset_metrics()
        value = model.compute_metrics(x=None, y=y, y_pred=outputs, sample_weight=None)[name]
        model.reset_metrics()
        return float(value)

    return measure


def _named(function: Callable[[Any, Any], Any], name: str) -> Callable[[Any, Any], Any]:
    """The function under a name for the report."""

    def named(y: Any, outputs: Any) -> Any:
        return function(y, outputs)

    named.__name__ = name
    return named
