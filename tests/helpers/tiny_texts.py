"""Sets of tensorflow-datasets with a few texts of our own, and the encoding of a text letter by letter."""

import tensorflow_datasets as tfds

from tfcompress.data.texts.characters import CHARACTERS


def prepare(name, splits, data_dir):
    """Writes a set of tensorflow-datasets, in its own format, with other examples.

    Args:
        name: of the set.
        splits: dict of split to list of examples.
        data_dir: where to.
    """
    builder = tfds.builder(name, data_dir=data_dir)
    builder._split_generators = lambda _: {split: enumerate(examples) for split, examples in splits.items()}
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))


def labelled(texts, labels):
    """Examples with the features "text" and "label"."""
    return [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]


def reviews(bodies, stars):
    """Examples of amazon_us_reviews."""
    names = ["marketplace", "customer_id", "review_id", "product_id", "product_parent", "product_title"]
    other = dict.fromkeys([*names, "product_category", "review_date"], "not read")
    other |= {"helpful_votes": 0, "total_votes": 0, "vine": "N", "verified_purchase": "Y"}
    return [
        {"data": other | {"review_headline": f"Title {star}", "review_body": body, "star_rating": star}}
        for body, star in zip(bodies, stars, strict=True)
    ]


def encoded(text, length, alphabet=CHARACTERS):
    """The indices of a text, found with Python's own means."""
    indices = [alphabet.find(character) + 1 for character in text.lower()[:length]]
    return indices + [0] * (length - len(indices))


def decoded(indices, alphabet=CHARACTERS):
    """The text that indices stand for, without padding; unknown characters are "?" each."""
    return "".join(alphabet[index - 1] if index else "?" for index in indices).rstrip("?")
