"""Data: by name, as arrays, as a tf.data.Dataset or a Keras PyDataset; and its splits for training and measuring.

`load` gives a dataset by name with the preprocessing of your choice, and can be passed as `data` to
`tfcompress.compress`. `splits` is what `compress` makes of its data. Nothing here imports TensorFlow or
tensorflow-datasets before it is needed.
"""

from tfcompress.data.augment import flip_and_crop
from tfcompress.data.batches import ArrayBatches, FollowEpoch, set_epoch
from tfcompress.data.characters import CHARACTERS
from tfcompress.data.failures import clear_error, is_of_tensorflow
from tfcompress.data.named import NamedData, load, load_arrays
from tfcompress.data.pipeline import without_autotuning
from tfcompress.data.splits import Split, Splits, check_forms, splits
from tfcompress.data.text_files import load_text_files
from tfcompress.data.text_sets import load_text

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
    "is_of_tensorflow",
    "load",
    "load_arrays",
    "load_text",
    "load_text_files",
    "set_epoch",
    "splits",
    "without_autotuning",
]
