"""The tf.data pipeline of Keras datasets gives the very batches that Keras would read."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.data import ArrayBatches, set_epoch, splits, without_autotuning
from tfcompress.data.batches.epochs import ChosenBatches


def plus_noise(images, rng):
    """An augmentation."""
    return images + rng.normal(size=images.shape).astype("float32")


class PipelineTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.x, self.y = rng.random((10, 4, 4, 3), dtype="float32"), np.arange(10)

    def test_the_batches_of_each_epoch(self):
        batches = ArrayBatches(self.x, self.y, 4, shuffle=True, seed=3, augment=plus_noise)
        dataset = without_autotuning(batches)
        self.assertEqual(dataset.cardinality(), 3)
        self.assertFalse(dataset.options().autotune.enabled)
        self.assertEqual(dataset.element_spec[0].shape.as_list(), [None, 4, 4, 3])
        for epoch in (0, 2, 0):
            set_epoch(batches, epoch)
            found = list(dataset.as_numpy_iterator())
            self.assertEqual([len(y) for _, y in found], [4, 4, 2])
            for (x, y), (want_x, want_y) in zip(found, (batches[i] for i in range(3)), strict=True):
                self.assertAllEqual(x, want_x)
                self.assertAllEqual(y, want_y)
        self.assertNotEqual(list(found[0][1]), [0, 1, 2, 3])

    def test_lists_and_dicts_of_inputs(self):
        batches = ArrayBatches([self.x, {"a": self.y}], self.y, 5)
        (image, other), _ = next(iter(without_autotuning(batches)))
        self.assertAllEqual(image, self.x[:5])
        self.assertAllEqual(other["a"], self.y[:5])

    def test_what_keras_reads_itself_is_left_to_it(self):
        dataset = tf.data.Dataset.from_tensors((self.x, self.y))
        self.assertIs(without_autotuning(dataset), dataset)
        self.assertIsNone(without_autotuning(None))

        class Threaded(keras.utils.PyDataset):
            def __init__(self, x, y):
                super().__init__(workers=2)
                self.x, self.y = x, y

            def __len__(self):
                return 2

            def __getitem__(self, index):
                return self.x, self.y

        threaded = ChosenBatches(Threaded(self.x, self.y), np.arange(2))
        self.assertIs(without_autotuning(threaded), threaded)

    def test_a_dataset_of_the_users_is_told_of_the_end_of_each_epoch(self):
        from tfcompress.training import fit, infer

        class Own(keras.utils.PyDataset):
            def __init__(self, x, y):
                super().__init__()
                self.x, self.y, self.ends = x, y, 0

            def __len__(self):
                return 2

            def __getitem__(self, index):
                return self.x[5 * index : 5 * index + 5], self.y[5 * index : 5 * index + 5]

            def on_epoch_end(self):
                self.ends += 1

        own = Own(self.x, self.y)
        model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(10)])
        parts = splits(own, validation_data=(self.x, self.y), input_shape=model.input_shape, classes=10)
        before = own.ends
        objective = infer(model, self.y)
        fit(model, parts.train.batches(5, training=True), objective, optimizer=keras.optimizers.SGD(0.01), epochs=3)
        self.assertEqual(own.ends - before, 3)


if __name__ == "__main__":
    tf.test.main()
