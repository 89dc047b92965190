"""The errors of an export."""

from typing import Any


class ExportError(ValueError):
    """A model could not be written, or a written file could not be read back."""


class MissingOperatorError(ExportError):
    """A layer computes something that TensorFlow Lite has no builtin operator for.

    Attributes:
        layer: name of the Keras layer (or `keras.ops` operation), `"outer/inner"` inside a nested model; None if the
            converter fails on the whole model but on no part of it.
        operators: the TensorFlow operators that TensorFlow Lite lacks, such as `("Erfinv",)`.
    """

    def __init__(self, message: str, layer: str | None, operators: tuple[str, ...]):
        """Stores the message, the layer and the operators."""
        super().__init__(message)
        self.layer = layer
        self.operators = operators

    def said_for(self, expected: str, lacking: str, advice: str) -> "MissingOperatorError":
        """Returns the same error in the words of what needed the file.

        Args:
            expected: the sentence on what was expected.
            lacking: such as "an operator that LiteRT lacks".
            advice: the sentence on what to do.
        """
        where = f"layer {self.layer!r}" if self.layer else "the model (no single layer)"
        message = f"{expected} Received: {where}, which needs {', '.join(self.operators)}, {lacking}. {advice}"
        return MissingOperatorError(message, self.layer, self.operators)


class MetricError(ValueError):
    """The metric for comparing files gives no number for the model's own outputs."""


class ExportMismatch(ExportError):
    """A written file does not compute what the model computes. It lies in its folder all the same.

    Attributes:
        report: the report of all files; those in question are `suspect`.
    """

    def __init__(self, message: str, report: Any):
        """Stores the message and the report."""
        super().__init__(message)
        self.report = report
