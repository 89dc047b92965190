"""Builders of tensorflow-datasets: finds them by name, refuses unsuitable samples, and prepares them."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from tfcompress import expect

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

__all__ = ["has_images", "is_known", "known_builder", "prepare", "refusal", "text_features"]

_ADVICE = "Pass a batched tf.data.Dataset of (inputs, labels) instead."


def _unknown(name: str, error: Exception) -> ValueError:
    import tensorflow_datasets as tfds

    known = ["digits", *tfds.list_builders(with_community_datasets=False)]
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    nearest = difflib.get_close_matches(name, known) or ["digits", "cifar10", "mnist"]
    return ValueError(
        f"Expected `data` to name a dataset of tensorflow-datasets, or 'digits'. Received: "
        f"data={expect.received(name)} ({reason}). Similar names: "
        f"{', '.join(map(repr, nearest))}; `tensorflow_datasets.list_builders()` lists all names. The path of a folder "
        "of images (a folder in it for each class), that of an .npz file, and 'package.module:function' are data too: "
        "there is no such path."
    )


def is_known(name: str) -> bool:
    """Whether a name is that of a dataset, with or without configuration and version; False without tfds."""
    base = name.split("/")[0].split(":")[0]
    if base == "digits":
        return name == base
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        return False
    return base in tfds.list_builders(with_community_datasets=False)


def known_builder(name: str, data_dir: str | os.PathLike[str] | None) -> tfds.core.DatasetBuilder:
    """The builder of a name, not yet prepared.

    Raises:
        ValueError: there is none.
        ImportError: tensorflow-datasets is not installed.
    """
    what = f"data={expect.received(name)} is a name of"
    advice = "Arrays, datasets, folders of images and .npz files are data without it."
    tfds = expect.extra("datasets", "tensorflow_datasets", what, advice)
    try:
        return tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError) as error:  # an unknown name, configuration, or version
        raise _unknown(name, error) from error


def _has_class(features: tfds.features.FeaturesDict) -> bool:
    import tensorflow_datasets as tfds

    return "label" in features and isinstance(features["label"], tfds.features.ClassLabel)


def has_images(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether the samples are an 'image' with a 'label', one class per image."""
    features = builder.info.features
    return "image" in features and _has_class(features)


def text_features(builder: tfds.core.DatasetBuilder) -> list[str]:
    """Returns the names of the features that hold one text each, such as "text" or "data/review_body".

    Empty if the samples have neither a 'label', one class per text, nor stars ('data/star_rating').
    """
    import tensorflow_datasets as tfds

    features, prefix = builder.info.features, ""
    if not _has_class(features):
        if "data" not in features or not isinstance(features["data"], tfds.features.FeaturesDict):
            return []
        features, prefix = features["data"], "data/"
        if "star_rating" not in features:
            return []
    return [prefix + name for name, feature in features.items() if _is_text(feature)]


def _is_text(feature: tfds.features.FeatureConnector) -> bool:
    import tensorflow as tf

    return bool(feature.shape == () and feature.tf_dtype == tf.string)


def refusal(builder: tfds.core.DatasetBuilder, name: str, expected: str) -> ValueError:
    """Returns the ValueError for a dataset whose samples are not as `expected`, in words."""
    return ValueError(
        f"Expected a dataset with {expected}. Received: data={name!r} with {sorted(builder.info.features)}. {_ADVICE}"
    )


def prepare(builder: tfds.core.DatasetBuilder, name: str) -> None:
    """Downloads and prepares a dataset if necessary. Raises ValueError if it has no training split."""
    builder.download_and_prepare()
    if "train" not in builder.info.splits:
        raise ValueError(
            f"Expected a dataset with a split 'train'. Received: data={name!r} with {sorted(builder.info.splits)}. "
            f"{_ADVICE}"
        )
