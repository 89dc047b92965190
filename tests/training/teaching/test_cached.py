"""What the teacher gives, on disk: the same losses, one pass of the teacher, a limit that holds before anything is written."""

import pathlib
import re
import tempfile

import keras
import numpy as np
import small_tasks
import teachers
import tensorflow as tf

from tfcompress import data
from tfcompress.training.teaching import (
    Distillation,
    Hints,
    KDLoss,
    SoftTargets,
    SplitModel,
    bytes_of_cache,
    cached_batches,
)

SAMPLES, BATCH = 20, 8
# One sample: the image, the label, what is handed on at the three split points, and the logits; 4 bytes each.
FLOATS = 8 * 8 + 8 * 8 * 6 + 8 * 8 * 6 + 4 * 4 * 8 + 4


def split(x=None, y=None, **settings):
    given = small_tasks.pictures(SAMPLES, seed=2)
    validation = small_tasks.pictures(8, seed=3)
    arrays = (given[0] if x is None else x, given[1] if y is None else y)
    return data.splits(arrays, validation_data=validation, classes=4, input_shape=(None, 8, 8, 1), **settings).train


def points(*blocks):
    return ("stem_relu", *(f"section{i}_block{count}_relu" for i, count in enumerate(blocks, start=1)))


class CachedTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "cache"
        self.student = teachers.classifier(blocks=(1, 1), seed=1)
        self.teacher = teachers.classifier(blocks=(2, 2), seed=2)

    def model(self, cached=True, beta=0.5):
        entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        hints = Hints(SplitModel(self.student, points(1, 1)), SplitModel(self.teacher, points(2, 2)), (1, 2))
        kd = KDLoss(self.student, self.teacher, SoftTargets(0.3, 2.0), entropy) if beta else None
        return Distillation(self.student, self.teacher, outputs_loss=kd, hints=hints, beta=beta, cached=cached)

    def batches(self, model=None, given=None, limit_gb=1.0, seed=0, folder=True):
        model, given = model or self.model(), given or split()
        return cached_batches(model, given, BATCH, limit_gb, self.folder if folder else None, seed)

    @staticmethod
    def epoch(batches, number=0):
        batches.epoch_variable.assign(number)
        return list(batches)

    def test_size_by_hand(self):
        label = np.asarray(split().take(1)[1]).itemsize
        self.assertEqual(bytes_of_cache(self.model(), split()), SAMPLES * (4 * FLOATS + label))
        without_logits = SAMPLES * (4 * (FLOATS - 4) + label)
        self.assertEqual(bytes_of_cache(self.model(beta=0.0), split()), without_logits)

    def test_the_same_loss_as_computed(self):
        cached, computed = self.model(), self.model(cached=False)
        with self.batches(cached) as batches:
            seen = 0
            for x, y in self.epoch(batches):
                inputs = x["inputs"]
                found = float(cached.compute_loss(x=x, y=y, y_pred=cached(x, training=True), training=True))
                expected = computed.compute_loss(x=inputs, y=y, y_pred=computed(inputs, training=True), training=True)
                self.assertAllClose(found, float(expected), rtol=1e-4)
                seen += len(y)
        self.assertEqual(seen, SAMPLES)

    def test_each_sample_once_with_its_label_and_representations(self):
        x, y = small_tasks.pictures(SAMPLES, seed=2)
        tapped = keras.Model(self.teacher.input, [self.teacher.get_layer(name).output for name in points(2, 2)])
        expected = [np.array(tensor) for tensor in tapped(x, training=False)]
        with self.batches() as batches:
            for number in (0, 1):
                found = []
                for given, labels in self.epoch(batches, number):
                    for i, image in enumerate(np.array(given["inputs"])):
                        (index,) = [j for j in range(SAMPLES) if np.array_equal(x[j], image)]
                        found.append(index)
                        self.assertEqual(int(labels[i]), y[index])
                        for tap, whole in zip(given["taps"], expected, strict=True):
                            self.assertAllClose(tap[i], whole[index], rtol=1e-4, atol=1e-5)
                self.assertCountEqual(found, range(SAMPLES))
                self.assertNotEqual(found, sorted(found))

    def order(self, epoch, seed=0):
        with self.batches(seed=seed) as batches:
            return np.concatenate([np.array(x["inputs"])[:, 0, 0, 0] for x, _ in self.epoch(batches, epoch)]).tolist()

    def test_the_order_is_that_of_seed_and_epoch(self):
        first = self.order(0)
        self.assertEqual(self.order(0), first)
        self.assertNotEqual(self.order(1), first)
        self.assertEqual(self.order(1), self.order(1))
        self.assertNotEqual(self.order(0, seed=1), first)
        for global_seed in (123, 0):  # a run that goes on has another global state
            keras.utils.set_random_seed(global_seed)
            self.assertEqual(self.order(0), first)

    def test_the_teacher_is_run_for_each_sample_once(self):
        model = self.model()
        with self.batches(model) as batches:
            with teachers.calls_of(self.teacher.get_layer("stem")) as stem:
                for number in range(3):
                    for x, _y in self.epoch(batches, number):
                        model(x, training=True)
            self.assertEqual(stem.call_count, 0)

    def test_the_cache_is_removed(self):
        with self.batches():
            self.assertNotEmpty([path for path in self.folder.rglob("*") if path.is_file()])
        self.assertEmpty([path for path in self.folder.rglob("*") if path.is_file()])
        with self.batches(folder=False) as batches:
            self.assertLen(self.epoch(batches), 3)

    def test_a_limit_is_checked_before_anything_is_written(self):
        size = bytes_of_cache(self.model(), split())
        with self.assertRaisesRegex(ValueError, "cache_gb"), self.batches(limit_gb=0.99 * size / 1e9):
            self.fail("should not come here")
        self.assertFalse(self.folder.exists())
        with self.batches(limit_gb=1.01 * size / 1e9):
            on_disk = sum(path.stat().st_size for path in self.folder.rglob("*"))
        self.assertBetween(on_disk, size, 1.2 * size)

    def kept_after_a_kill(self):
        """The files as they are inside the `with`, as a killed process leaves them."""
        with self.batches():
            files = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return files

    def test_a_whole_cache_is_used_again(self):
        """It has what the teacher gave when it was written."""
        self.kept_after_a_kill()
        expected = np.array(keras.Model(self.teacher.input, self.teacher.get_layer("stem_relu").output)(self.first()))
        for weight in self.teacher.weights:
            weight.assign(keras.ops.zeros_like(weight))
        with self.batches() as batches:
            found = np.concatenate([np.array(x["taps"][0]) for x, _ in self.epoch(batches)])
        self.assertAllClose(np.sort(found.sum((1, 2, 3))), np.sort(expected.sum((1, 2, 3))), rtol=1e-4)

    @staticmethod
    def first():
        return small_tasks.pictures(SAMPLES, seed=2)[0]

    def test_an_incomplete_one_is_written_anew(self):
        expected = self.order(0)
        for path in self.kept_after_a_kill():
            if "complete" in path.name:
                path.unlink()
            else:
                path.write_bytes(b"\0" * (path.stat().st_size // 2))
        self.assertNotEmpty(list(self.folder.rglob("*")))
        self.assertEqual(self.order(0), expected)

    def test_a_damaged_one_is_written_anew_and_it_is_said(self):
        files, notes = self.kept_after_a_kill(), []
        self.assertIn("complete", {path.name for path in files})
        for damaged in files:
            for path, content in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                middle = len(content) // 2
                flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
                path.write_bytes(flipped if path == damaged else content)
            with cached_batches(self.model(), split(), BATCH, 1.0, self.folder, 0, notes.append) as batches:
                self.assertEqual(sum(len(y) for _, y in self.epoch(batches)), SAMPLES)
            self.assertRegex(notes.pop(), f"{re.escape(damaged.name)} is damaged .* computed again")
        self.assertEmpty(notes)

    def test_augmented_data_and_streams_are_refused(self):
        x, y = small_tasks.pictures(SAMPLES)
        stream = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
        validation = small_tasks.pictures(8, seed=3)
        streamed = data.splits(stream, validation_data=validation, classes=4, input_shape=(None, 8, 8, 1)).train
        with self.assertRaisesRegex(ValueError, "arrays|memory"):
            bytes_of_cache(self.model(), streamed)
        named = data.splits(data.load("digits", augment=lambda images, rng: images), classes=10).train
        with self.assertRaisesRegex(ValueError, "augment"):
            bytes_of_cache(self.model(), named)
