"""TensorBoard logs that a killed run continues without a gap."""

import os
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

__all__ = ["EpochScalars", "Scalars"]


class EpochScalars(keras.callbacks.TensorBoard):
    """Keras' TensorBoard callback for the values of each epoch.

    Every value in `logs` is written, also values that callbacks before this one have added. It is on disk at the end of
    the epoch, because TensorFlow flushes a writer each time it ceases to be the default one.

    Args:
        log_dir: folder of the logs; files of an interrupted run are continued.
    """

    def __init__(self, log_dir: str | os.PathLike[str]):
        super().__init__(log_dir=str(log_dir), write_graph=False, update_freq="epoch")

    # Keras' own hook has nothing to do here, but its presence would make every step wait for the loss.
    on_train_batch_end = keras.callbacks.Callback.on_train_batch_end


class Scalars:
    """Writes values that belong to no training epoch (rewards of episodes, FLOPs of candidates) for TensorBoard.

    Args:
        log_dir: folder of the logs, or None to write nothing.
    """

    def __init__(self, log_dir: str | os.PathLike[str] | None):
        self._writer: Any = None if log_dir is None else tf.summary.create_file_writer(str(log_dir))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one point of each curve in `values`, and waits until they are on disk."""
        if self._writer is None:
            return
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def close(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
