"""Data: by name, as arrays, as a tf.data.Dataset or a Keras PyDataset, divided into splits for training and measuring.

`load` loads a dataset by name with a chosen preprocessing; its result can be passed as `data` to
`tfcompress.compress`. `splits` makes the splits that `compress` uses. Nothing here imports TensorFlow or
tensorflow-datasets before it is needed.
"""

from tfcompress import _keras  # noqa: F401
from tfcompress.data.batches.augment import flip_and_crop
from tfcompress.data.batches.epochs import ArrayBatches, FollowEpoch, set_epoch
from tfcompress.data.batches.failures import clear_error, is_of_tensorflow
from tfcompress.data.batches.pipeline import without_autotuning
from tfcompress.data.given import check_forms, has_form, opened
from tfcompress.data.named.loading import NamedData, load, load_arrays
from tfcompress.data.named.places import kind_of
from tfcompress.data.named.text_sets import load_text
from tfcompress.data.splits import Split, Splits, splits
from tfcompress.data.texts.characters import CHARACTERS
from tfcompress.data.texts.files import load_text_files

__all__ = [
    "CHARACTERS",
    "ArrayBatches",
    "FollowEpoch",
    "NamedData",
    "Split",
    "Splits",
    "check_forms",
    "clear_error",
    "flip_and_crop",
    "has_form",
    "is_of_tensorflow",
    "kind_of",
    "load",
    "load_arrays",
    "load_text",
    "load_text_files",
    "opened",
    "set_epoch",
    "splits",
    "without_autotuning",
]
