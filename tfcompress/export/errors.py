"""The errors of an export."""


class ExportError(ValueError):
    """A model could not be written, or what was written could not be read back."""


class MissingOperatorError(ExportError):
    """A layer computes something that TensorFlow Lite has no builtin operator for.

    Attributes:
        layer: name of the Keras layer (or `keras.ops` operation), `"outer/inner"` inside a nested model; None where
            the converter fails on the whole model but on no part of it.
        operators: the TensorFlow operators that TensorFlow Lite lacks, such as `("Erfinv",)`.
    """

    def __init__(self, message: str, layer: str | None, operators: tuple[str, ...]):
        """Keeps the message, and what it names."""
        super().__init__(message)
        self.layer = layer
        self.operators = operators


class MetricError(ValueError):
    """The metric by which files are compared gives no number for the model's own outputs."""
