"""Students of N2N scored by workers, with tasks on random images; and the memory of parent and workers over many.

Usage: n2n_workers.py STUDENTS

prints as JSON the memory of this process in MiB after the first tenth of the students and after all of them, and the
largest of a worker.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import threading
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import keras
import numpy as np
import psutil

from tfcompress import Budget, data
from tfcompress.methods.n2n.scoring import Scoring
from tfcompress.methods.n2n.students import Students
from tfcompress.plan import KeepChannels, Plan, Trail
from tfcompress.task import Task
from tfcompress.training import Training, infer
from tfcompress.workers import Workers

__all__ = ["memory_over", "students_of", "task", "trails"]


def task(images: int, width: int, size: int = 32) -> Task:
    """A task on a small VGG-like chain with random images."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((size, size, 3))
    x = inputs
    for number, filters in enumerate((width, width, 2 * width, 2 * width)):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = keras.layers.MaxPooling2D(2)(x) if number % 2 else x
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="head")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    arrays = rng.random((images, size, size, 3), dtype="float32"), np.arange(images) % 10
    splits = data.splits(arrays, input_shape=model.input_shape, classes=10, seed=0)
    return Task(model, splits, infer(model, arrays[1]), Budget(), accuracy=1.0, chance=0.1)


def students_of(of: Task, workers: int | None, **limits) -> Students:
    """What scores students for one epoch, with so many workers of one thread each."""
    training = Training(epochs=1, batch_size=64, learning_rate=5e-4, optimizer="adam", weight_decay=0.0)
    return Students(Scoring(of, training, False), (1, 50_000), None if workers is None else Workers(workers, **limits))


def trails(of: Task, count: int, first: int = 0) -> list[Trail]:
    """Different students of about the same size: a few channels less than the teacher, in another group each."""
    groups = list(of.groups.groups.values())
    made = []
    for number in range(first, first + count):
        keep, rest = [], number
        for group in groups:
            rest, less = divmod(rest, 5)
            keep.append(KeepChannels(group.name, tuple(range(group.size - 1 - less))))
        made.append(Trail((Plan(keep, weights="fresh"),)))
    return made


def memory_over(count: int) -> dict[str, float]:
    """The memory of parent and workers over so many students, in MiB."""
    of, largest, seen = task(100, 16, 8), 0, {}
    here = psutil.Process()
    stop = threading.Event()

    def look() -> None:
        nonlocal largest
        while not stop.wait(0.2):
            for child in here.children(recursive=True):
                try:
                    largest = max(largest, child.memory_info().rss)
                except psutil.Error:
                    continue

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    with students_of(of, 2, memory_gb=1.5) as students:
        for start in range(0, count, 5):
            scores = students.score_all(of.network, trails(of, 5, start), strict=False)
            students.keep("stage", scores[0].trail)
            assert all(score.accuracy is not None for score in scores)
            if start + 5 == max(5, count // 10):
                seen["first"] = here.memory_info().rss / 2**20
    stop.set()
    seen["last"] = here.memory_info().rss / 2**20
    return {**seen, "worker": largest / 2**20, "limit": 1.5e9 / 2**20}


def main() -> None:
    """Prints the memory over the students that the argument asks for."""
    start = time.monotonic()
    print(json.dumps({**memory_over(int(sys.argv[1])), "seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
