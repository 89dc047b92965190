"""Makes the four splits that compression reads from a user's data: training, validation, calibration, test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tfcompress import expect
from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.batches.forms import Arrays, Batches, Preprocess, Shape
from tfcompress.data.batches.scaling import Prepared
from tfcompress.data.given import GivenData, Request, check_forms, checked_shapes, opened
from tfcompress.data.sources.arrays import FirstSamples
from tfcompress.data.sources.guards import check_whole
from tfcompress.data.sources.named_data import NamedData
from tfcompress.data.sources.source import DivisibleSource, Source

__all__ = ["Split", "Splits", "splits"]

_VALIDATION_SHARE = 0.1  # of the training data, where nothing else is said
_CALIBRATION_SAMPLES = 1000
_SAMPLES_LOOKED_AT = 4
_NAMES_SAID = 12  # of classes


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        name: "training", "validation", "calibration" or "test".
        source: the source of its samples.
        text: a description in words.
    """

    name: str
    source: Source
    text: str

    @property
    def weighted(self) -> bool:
        """Whether samples have weights, which training batches give as their third part."""
        return self.source.weighted

    @property
    def num_samples(self) -> int | None:
        """Number of samples, or `None` if it is known only after a pass over the data."""
        return self.source.num_samples

    def num_batches(self, batch_size: int | None = None) -> int | None:
        """Returns the number of batches of an epoch.

        Args:
            batch_size: as for `batches`.

        Returns:
            An int; an estimate for a part of a tf.data.Dataset; `None` for a dataset that does not know it.
        """
        return self.source.num_batches(expect.whole("batch_size", batch_size, least=1, or_none=True))

    def batches(self, batch_size: int | None = None, training: bool = False) -> Batches:
        """Returns the samples in batches, as `fit` and `evaluate` take them.

        Args:
            batch_size: samples in a batch; `None` for the `batch_size` of `splits`, or a dataset's own. A PyDataset
                always keeps its own.
            training: whether to shuffle and augment. A user's tf.data.Dataset is used unchanged either way.

        Returns:
            A `keras.utils.PyDataset` (`ArrayBatches` for arrays) or a tf.data.Dataset.
        """
        return self.source.batches(expect.whole("batch_size", batch_size, least=1, or_none=True), training)

    def take(self, count: int) -> tuple[Arrays, Arrays]:
        """Returns the first samples as arrays, as the model reads them, without augmentation.

        Args:
            count: their number, at most.

        Returns:
            `(x, y)` of numpy arrays, or structures of them.
        """
        return self.source.take(expect.whole("count", count, least=1))

    def take_weights(self, count: int) -> Arrays | None:
        """Returns the weights of the samples that `take` returns.

        Args:
            count: their number, at most.

        Returns:
            An array, or a structure of arrays; `None` if samples have no weights.
        """
        return self.source.take_weights(expect.whole("count", count, least=1))

    def describe(self) -> str:
        """The split in words, such as "5,000 images held out of the training data (seed 0)"."""
        return self.text


@dataclass(frozen=True)
class Splits:
    """The data of a task.

    Attributes:
        train: data to learn weights from.
        validation: data to measure accuracy on while searching and training; arrays come in random order, so
            that the first samples are a fair sample.
        calibration: up to 1,000 training samples without augmentation, for statistics of activations.
        test: data for the report, read once; `None` if none was given.
        expected: the model's inputs and outputs, which the data was checked against.
        class_weight: the weight of each class in the training loss; `None` for equal weights.
        own_weights: whether samples came with weights of their own.
        notes: further remarks on the data.
        weighing: whether validation and test split are measured with these weights.
    """

    train: Split
    validation: Split
    calibration: Split
    test: Split | None
    expected: Expected = field(default_factory=Expected, repr=False)
    class_weight: ClassWeights | None = None
    own_weights: bool = False
    weighing: bool = False
    notes: tuple[str, ...] = ()

    def scaled(self, scaling: Preprocess, to: Preprocess) -> Splits:
        """Returns the same splits with the scaling of images `scaling` replaced by `to`."""
        return Splits(
            *(
                None if split is None else replace(split, source=_scaled(split.source, scaling, to))
                for split in (self.train, self.validation, self.calibration, self.test)
            ),  # type: ignore[arg-type]  # only the test split may be None
            **{field.name: getattr(self, field.name) for field in fields(self)[4:]},
        )

    def measured_with_weights(self) -> Splits:
        """Returns the same splits, with validation and test split measured with sample weights."""
        validation, test = (
            None if split is None else replace(split, source=split.source.weighing())
            for split in (self.validation, self.test)
        )
        assert validation is not None
        return replace(self, validation=validation, test=test, weighing=True)

    def check_whole(self) -> None:
        """Reads validation and test split once, and checks every batch; training batches are checked during training.

        Raises:
            ValueError, TypeError: a batch with NaN or infinity, of another shape, with labels outside the classes, or
                that cannot be read; the message names split and batch.
        """
        for split in (self.validation, self.test):
            if split is not None:
                check_whole(split, self.expected)

    def describe(self) -> str:
        """Describes the splits, one line each."""
        lines = [f"{split.name}: {split.text}" for split in (self.train, self.validation, self.calibration)]
        if self.test is None:
            lines.append("test: no test split was given; accuracies are those on the validation split")
        else:
            lines.append(f"test: {self.test.text}")
        if self.class_weight is not None:
            lines.append(f"class weights: {self.class_weight.words}; of the training loss, and of a teacher's lessons")
        if self.own_weights and self.weighing:
            lines.append(
                "sample weights: of the training loss, of a teacher's lessons, and of what is measured on the other "
                "splits, as the model is compiled with weighted_metrics"
            )
        elif self.own_weights:
            lines.append(
                "sample weights: of the training loss, and of a teacher's lessons; what is measured on the other "
                "splits is not weighted (compile the model with weighted_metrics= for that)"
            )
        return "\n".join(lines)


def _scaled(source: Any, scaling: Preprocess, to: Preprocess) -> Any:
    if isinstance(source, FirstSamples):
        return FirstSamples(_scaled(source.stream, scaling, to), source.count, source.batch_size)
    preprocess = getattr(source, "preprocess", None)
    if isinstance(preprocess, Prepared) and preprocess.then is scaling:
        return replace(source, preprocess=Prepared(preprocess.size, to))
    return replace(source, preprocess=to) if preprocess is scaling else source


def _by_itself(
    request: Request, data: object
) -> tuple[DivisibleSource, DivisibleSource | None, DivisibleSource | None, str]:
    """Returns `(training data, test split or None, validation split or None, the name in words)`."""
    if not isinstance(data, NamedData):
        return request.source(data, "`data`"), None, None, ""
    classes = f" ({len(data.class_names)} classes: {_listed(data.class_names)})" if data.class_names else ""
    return *request.named(data), f" of {data.name}{classes}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:_NAMES_SAID], *(["..."] if len(names) > _NAMES_SAID else [])])


def splits(
    data: GivenData,
    *,
    validation_data: GivenData | None = None,
    test_data: GivenData | None = None,
    input_shape: Shape | Sequence[Shape] | Mapping[str, Shape] | None = None,
    classes: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    validation_share: float | None = None,
    expected: Expected | None = None,
    class_weight: Mapping[int, float] | None = None,
) -> Splits:
    """Makes the splits of a task, and checks them before anything is trained.

    Without `validation_data` a part of the training data is held out, chosen by the seed: single samples of arrays, the
    same share of each class; whole batches of a PyDataset; samples of a tf.data.Dataset by a hash of their inputs,
    which chooses the same ones in every order. A dataset that augments its images gives other contents each time, so it
    needs `validation_data`; without, it is refused if two short readings show this.

    Args:
        data: the name of a dataset, a path or a function of a module (docs/guides/own_data.md), the result of
            `tfcompress.data.load`, a tuple `(inputs, labels)` of arrays (inputs may be a tuple or dict for several
            inputs; labels int `[samples]` or one-hot `[samples, classes]`, or numbers of any shape, for several outputs
            a list, tuple or dict), a batched tf.data.Dataset of such pairs, or a keras PyDataset (or any object with
            `__len__` and `__getitem__`) that gives such batches. Arrays and datasets hold the model's inputs unchanged.
            Sample weights may be
            a third part: they count in the training loss.
        validation_data: the same, but not a name; `None` to hold out a part of `data`. Of a folder or file, its
            training part is used.
        test_data: the same, but not a name; `None` for the test split of a named dataset, else none.
        input_shape: `keras.Model.input_shape`, with the batch dimension first; a list or a dict of name to shape for
            several inputs; `None` to skip this check.
        classes: number of classes, 1 for a single probability; `None` if the labels are not classes.
        batch_size: samples in a batch of arrays and of named datasets. Datasets keep their own.
        seed: seed of the held-out choice, of order and of augmentation.
        validation_share: share of the training data to hold out; `None` for a tenth, or for the validation split that
            the data include.
        expected: `Expected`, everything known about the model, instead of `input_shape` and `classes`.
        class_weight: `{class: weight}`, as for `keras.Model.fit`: weights of classes in the training loss, beside
            weights of the samples' own.

    Returns:
        `Splits`.

    Raises:
        ValueError: data that is missing, empty, of another shape than the model reads, with labels outside the classes,
            or with NaN or infinity (all of an array, the first batches of a stream); an unknown name.
        TypeError: data of another form, or labels that are not integers where classes are expected.
    """
    hint = "It is the share of the training data to hold out."
    validation_share = expect.number("validation_share", validation_share, above=0, below=1, or_none=True, advice=hint)
    batch_size = expect.whole("batch_size", batch_size, least=1)
    classes = expect.whole("classes", classes, least=1, or_none=True)
    seed = expect.seed("seed", seed)
    check_forms(data, validation_data, test_data)
    request = Request(expected or Expected(checked_shapes(input_shape), classes), batch_size, seed)
    of_classes = ClassWeights.of(class_weight, request.expected)
    whole = opened(data)
    if isinstance(whole, NamedData) and whole.scaling == "keras.applications":
        raise ValueError(
            "Expected a model, to find how its backbone was trained. Received: preprocess='keras.applications' "
            "without one. Name the scaling: preprocess='plus_minus_one', for example."
        )
    # What is refused should be refused before a large dataset is read.
    validation = None
    if validation_data is not None:
        validation = request.single(validation_data, "`validation_data`", whole).shuffled()
    given_test = None if test_data is None else request.single(test_data, "`test_data`", whole)
    train, test, own_validation, of_name = _by_itself(request, whole)
    if validation is None and own_validation is not None:
        if validation_share is not None:
            raise ValueError(
                "Expected no share to hold out (validation_split) of data that bring a validation split. Received: "
                f"{validation_share:g} for the data{of_name}. Leave it out, or put all images into one folder."
            )
        validation = own_validation.shuffled()
        text = f"{validation.describe()}: the validation split{of_name}"
        train_text = f"{train.describe()}: the training data{of_name}"
    elif validation is None:
        share = _VALIDATION_SHARE if validation_share is None else validation_share
        train, validation, text = train.hold_out(share, request.expected)
        train_text = f"{train.describe()}: the training data{of_name} without what is held out"
    else:
        text = f"{validation.describe()} given as validation_data"
        train_text = f"{train.describe()}: the training data{of_name}"
    calibration = train.first(_CALIBRATION_SAMPLES)
    sources = (train, validation, given_test)
    own_weights = any(source.weighted for source in sources if source is not None)
    if of_classes is not None:
        of_classes.times(train.take(_SAMPLES_LOOKED_AT)[1])  # what does not fit is refused here
        train = train.weighing_classes(of_classes)
    test_split = None
    if given_test is not None:
        test_split = Split("test", given_test, f"{given_test.describe()} given as test_data")
    elif test is not None:
        test_split = Split("test", test, f"{test.describe()}: the test split{of_name}")
    return Splits(
        train=Split("training", train, train_text),
        validation=Split("validation", validation, text),
        calibration=Split("calibration", calibration, f"{calibration.describe()} of the training split"),
        test=test_split,
        expected=request.expected,
        class_weight=of_classes,
        own_weights=own_weights,
    )
