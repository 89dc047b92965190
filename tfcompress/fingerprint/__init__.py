"""Everything that decides the outcome of a run, as plain data that can be compared between processes."""

from tfcompress.fingerprint.contents import Contents
from tfcompress.fingerprint.differences import differences
from tfcompress.fingerprint.losses import canonical_loss
from tfcompress.fingerprint.models import layer_names, model_contents, model_digest
from tfcompress.fingerprint.samples import split_contents

__all__ = [
    "Contents",
    "canonical_loss",
    "differences",
    "layer_names",
    "model_contents",
    "model_digest",
    "split_contents",
]
