import keras
import numpy as np
import tensorflow as tf

from tfcompress.data.batches.augment import flip_and_crop
from tfcompress.data.batches.epochs import ArrayBatches, ChosenBatches, FollowEpoch, set_epoch


def labels_of(batches):
    """Labels batch by batch."""
    return [batches[index][1].tolist() for index in range(len(batches))]


def all_labels(batches):
    return [label for labels in labels_of(batches) for label in labels]


class Recorder(keras.Model):
    """Keeps the labels and the images that `fit` trains it on."""

    def train_step(self, data):
        x, y = data
        self.seen.append((x.numpy().copy(), y.numpy().copy()))
        return super().train_step(data)


def recorded_fit(batches, **settings):
    """The batches of each epoch of a fit, as `[epoch][batch] -> (images, labels)`."""
    inputs = keras.Input((6, 6, 1))
    model = Recorder(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
    model.seen = []
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    model.fit(batches, shuffle=False, verbose=0, **settings)
    return [model.seen[start : start + len(batches)] for start in range(0, len(model.seen), len(batches))]


class ArrayBatchesTest(tf.test.TestCase):
    def test_without_shuffling_the_arrays_come_in_order(self):
        x = np.arange(10.0).reshape(5, 2)
        batches = ArrayBatches(x, np.arange(5), batch_size=2)
        self.assertEqual(batches.num_samples, 5)
        self.assertEqual(labels_of(batches), [[0, 1], [2, 3], [4]])
        self.assertAllEqual(batches[1][0], [[4, 5], [6, 7]])

    def test_an_epoch_shows_every_sample_once_in_an_order_of_its_own(self):
        batches = ArrayBatches(np.arange(7), np.arange(7), batch_size=3, shuffle=True, seed=5)
        orders = []
        for epoch in range(3):
            batches.epoch = epoch
            orders.append(all_labels(batches))
            self.assertEqual(sorted(orders[-1]), list(range(7)))
        self.assertEqual(len({tuple(order) for order in orders}), 3)
        batches.epoch = 1
        self.assertEqual(all_labels(batches), orders[1])

    def test_content_is_a_function_of_seed_epoch_and_index(self):
        x = np.random.default_rng(0).integers(0, 255, (8, 6, 6, 1), "uint8")

        def batch(seed, epoch, index):
            batches = ArrayBatches(x, np.arange(8), 4, shuffle=True, seed=seed, augment=flip_and_crop)
            batches[0]  # what was read before does not matter
            batches.epoch = epoch
            return batches[index][0]

        self.assertAllEqual(batch(1, 2, 1), batch(1, 2, 1))
        for other in ((2, 2, 1), (1, 3, 1), (1, 2, 0)):
            self.assertNotAllEqual(batch(1, 2, 1), batch(*other))

    def test_the_same_images_are_augmented_anew_in_each_epoch_and_batch(self):
        x = np.broadcast_to(np.arange(36).reshape(1, 6, 6, 1), (8, 6, 6, 1))
        batches = ArrayBatches(x, np.arange(8), 4, augment=flip_and_crop)
        first, second = batches[0][0], batches[1][0]
        batches.epoch = 1
        self.assertNotAllEqual(first, second)
        self.assertNotAllEqual(first, batches[0][0])

    def test_indices_choose_samples_in_their_order(self):
        batches = ArrayBatches(np.arange(10) * 10, np.arange(10), batch_size=2, indices=np.array([7, 3, 5]))
        self.assertEqual(batches.num_samples, 3)
        self.assertEqual(labels_of(batches), [[7, 3], [5]])
        self.assertAllEqual(batches[0][0], [70, 30])
        shuffled = ArrayBatches(np.arange(10), np.arange(10), 2, shuffle=True, indices=np.array([7, 3, 5]))
        self.assertEqual(sorted(all_labels(shuffled)), [3, 5, 7])

    def test_several_inputs_and_one_hot_labels_stay_together(self):
        x = {"image": np.arange(6 * 4 * 4).reshape(6, 4, 4, 1), "number": np.arange(6)}
        batches = ArrayBatches(x, np.eye(6), 4, shuffle=True, seed=1, augment=lambda images, rng: -images)
        for index in range(2):
            part, labels = batches[index]
            self.assertAllEqual(labels.argmax(axis=1), part["number"])
            self.assertAllEqual(part["image"], -x["image"][part["number"]])

    def test_augmentation_comes_before_preprocessing(self):
        x = np.full((2, 4, 4, 1), 10, "uint8")
        batches = ArrayBatches(x, np.zeros(2), preprocess=lambda x: x / 2, augment=lambda images, rng: images + 1)
        self.assertAllEqual(batches[0][0], np.full((2, 4, 4, 1), 5.5))

    def test_a_fit_that_continues_sees_the_batches_of_the_unbroken_one(self):
        x = np.random.default_rng(0).integers(0, 255, (10, 6, 6, 1), "uint8")

        def batches():
            return ArrayBatches(x, np.arange(10) % 2, 4, shuffle=True, seed=3, augment=flip_and_crop)

        unbroken = batches()
        epochs = recorded_fit(unbroken, epochs=3, callbacks=[FollowEpoch(unbroken)])
        continued = batches()
        (last,) = recorded_fit(continued, epochs=3, initial_epoch=2, callbacks=[FollowEpoch(continued)])
        self.assertLen(epochs, 3)
        for (images, labels), (images_again, labels_again) in zip(epochs[2], last, strict=True):
            self.assertAllEqual(labels, labels_again)
            self.assertAllEqual(images, images_again)
        self.assertNotAllEqual(epochs[1][0][0], epochs[2][0][0])
        # And they are the batches of that number.
        unbroken.epoch = 2
        self.assertAllEqual(unbroken[1][0], epochs[2][1][0])

    def test_fit_counts_epochs_up_by_itself(self):
        batches = ArrayBatches(np.zeros((8, 6, 6, 1)), np.arange(8), 8, shuffle=True)
        orders = [tuple(epoch[0][1]) for epoch in recorded_fit(batches, epochs=3)]
        self.assertLen(set(orders), 3)


class Source:
    """Ten batches of one label each, which notes when an epoch has ended."""

    ended = 0

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return np.zeros((1, 6, 6, 1)), np.array([index % 2])

    def on_epoch_end(self):
        self.ended += 1


class ChosenBatchesTest(tf.test.TestCase):
    def test_gives_the_chosen_batches_in_an_order_for_each_epoch(self):
        source = [(index, str(index)) for index in range(10)]
        chosen = np.array([2, 3, 5, 7])
        self.assertEqual([batch[0] for batch in map(ChosenBatches(source, chosen).__getitem__, range(4))], [2, 3, 5, 7])
        batches = ChosenBatches(source, chosen, shuffle=True, seed=1)
        orders = []
        for epoch in (0, 1, 2, 0):
            self.assertTrue(set_epoch(batches, epoch))
            orders.append(tuple(batches[index][0] for index in range(len(batches))))
        self.assertEqual(orders[0], orders[3])
        self.assertGreater(len(set(orders)), 1)
        self.assertEqual({tuple(sorted(order)) for order in orders}, {(2, 3, 5, 7)})

    def test_converts_batches(self):
        batches = ChosenBatches([(1, 2)], np.array([0]), convert=lambda batch: (batch[0] * 10, batch[1]))
        self.assertEqual(batches[0], (10, 2))

    def test_forwards_the_end_of_an_epoch_only_where_asked(self):
        for forward in (True, False):
            source = Source()
            recorded_fit(ChosenBatches(source, np.arange(10), forward_epoch_end=forward), epochs=2)
            self.assertEqual(source.ended > 0, forward)


class SetEpochTest(tf.test.TestCase):
    def test_says_whether_it_could(self):
        self.assertTrue(set_epoch(ArrayBatches(np.zeros(2), np.zeros(2)), 3))
        self.assertFalse(set_epoch(tf.data.Dataset.range(3), 3))


if __name__ == "__main__":
    tf.test.main()
