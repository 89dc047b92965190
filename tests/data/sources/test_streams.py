import keras
import numpy as np
import tensorflow as tf

from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.epochs import set_epoch
from tfcompress.data.sources.arrays import first_samples
from tfcompress.data.sources.py_datasets import PyDatasetSource
from tfcompress.data.sources.streams import TensorFlowSource

EXPECTED = Expected((None, 3), 4)


def vectors(count):
    """`count` distinct samples; the label of sample i is i mod 4 and its vector holds i."""
    return np.stack([np.arange(count)] * 3, axis=1).astype("float32"), np.arange(count) % 4


def dataset_of(count, batch_size=10, shuffle=0):
    dataset = tf.data.Dataset.from_tensor_slices(vectors(count))
    return (dataset.shuffle(shuffle) if shuffle else dataset).batch(batch_size)


def members(batches):
    return [int(value) for x, _ in batches.as_numpy_iterator() for value in x[:, 0]]


def tensorflow_source(dataset, seed=0, expected=EXPECTED):
    return TensorFlowSource.checked(dataset, expected, "`data`", seed)


class FirstSamplesTest(tf.test.TestCase):
    def test_joins_batches_and_stops(self):
        def batches():
            yield np.array([1, 2]), np.array([10, 20])
            yield np.array([3, 4]), np.array([30, 40])
            raise AssertionError("was read too far")

        x, y = first_samples(batches(), 3)
        self.assertAllEqual(x, [1, 2, 3])
        self.assertAllEqual(y, [10, 20, 30])

    def test_gives_fewer_where_there_are_fewer(self):
        x, _ = first_samples(iter([((np.array([1]), np.array([2])), np.array([3]))]), 5)
        self.assertAllEqual(x[1], [2])


class TensorFlowSourceTest(tf.test.TestCase):
    def test_a_dataset_is_used_as_it_is_or_batched_anew(self):
        dataset = dataset_of(25)
        source = tensorflow_source(dataset)
        self.assertIs(source.batches(training=True), dataset)
        self.assertIs(source.batches(10), dataset)
        self.assertEqual([len(y) for _, y in source.batches(8)], [8, 8, 8, 1])
        self.assertEqual((source.batch_size, source.num_batches(), source.num_batches(8)), (10, 3, 4))
        self.assertAllEqual(source.take(12)[0][:, 0], np.arange(12))

    def test_a_column_of_labels_becomes_a_vector(self):
        x, y = vectors(6)
        source = tensorflow_source(tf.data.Dataset.from_tensor_slices((x, y[:, None])).batch(3))
        self.assertEqual(source.take(2)[1].shape, (2,))

    def test_the_same_samples_are_held_out_however_they_are_shuffled(self):
        found = []
        for shuffle in (0, 400, 7):
            kept, held_out, text = tensorflow_source(dataset_of(400, shuffle=shuffle)).hold_out(0.2, EXPECTED)
            for _ in range(2):  # and in every epoch
                self.assertEqual(sorted(members(kept.batches()) + members(held_out.batches())), list(range(400)))
                found.append(sorted(members(held_out.batches())))
        self.assertEqual(found, [found[0]] * 6)
        self.assertBetween(len(found[0]), 50, 110)
        self.assertEqual(text, "about 20% of the training data, held out by a hash of the inputs (seed 0)")
        self.assertEqual((kept.num_batches(), held_out.num_batches()), (32, 8))
        self.assertEqual([len(y) for _, y in kept.batches().take(2)], [10, 10])
        _, other, _ = tensorflow_source(dataset_of(400), seed=1).hold_out(0.2, EXPECTED)
        self.assertNotEqual(sorted(members(other.batches())), found[0])

    def test_a_dataset_that_augments_needs_validation_data(self):
        def augmented(dataset):
            # Random operations of TensorFlow repeat themselves in every epoch once a global seed is set.
            return dataset.map(
                lambda x, y: (x + tf.numpy_function(rng.random, [], tf.float64, stateful=True), y)
            ).batch(50)

        rng = np.random.default_rng(0)

        small, large = (
            tf.data.Dataset.from_tensor_slices((x.astype("float64"), y)) for x, y in map(vectors, (60, 3000))
        )
        of_unknown_length = large.filter(lambda x, y: True)
        for dataset in (small, small.shuffle(60), large.shuffle(3000), of_unknown_length):
            with self.assertRaisesRegex(ValueError, "same in every epoch.*augments. Pass `validation_data`"):
                tensorflow_source(augmented(dataset)).hold_out(0.1, EXPECTED)

    def test_a_large_dataset_that_only_shuffles_is_taken(self):
        tensorflow_source(dataset_of(3000, 50, shuffle=3000)).hold_out(0.1, EXPECTED)

    def test_strings_are_held_out_by_their_content(self):
        texts = np.array([f"text {number}" for number in range(40)])[:, None]
        dataset = tf.data.Dataset.from_tensor_slices((texts, np.arange(40) % 4)).batch(8)
        source = TensorFlowSource.checked(dataset, Expected((None, 1), 4, strings=True), "`data`", seed=0)
        kept, held_out, _ = source.hold_out(0.3, EXPECTED)
        found = [split.take(100)[0].ravel().tolist() for split in (kept, held_out)]
        self.assertEqual(sorted(found[0] + found[1]), sorted(text.encode() for text in texts.ravel()))

    def test_shapes_that_the_dataset_does_not_know(self):
        x, y = vectors(8)

        def batches():
            for start in (0, 5):
                yield x[start : start + 5], y[start : start + 5]

        of_generator = tf.data.Dataset.from_generator(batches, output_types=(tf.float32, tf.int64))
        size = tf.TensorSpec((None, None)), tf.TensorSpec((None,), tf.int64)
        for dataset in (of_generator, tf.data.Dataset.from_generator(batches, output_signature=size)):
            source = tensorflow_source(dataset)
            self.assertEqual([spec.shape.as_list() for spec in source.dataset.element_spec], [[None, 3], [None]])
            self.assertAllEqual(source.take(8)[0], x)
        known = dataset_of(8)
        self.assertIs(tensorflow_source(known).dataset, known)

    def test_nothing_to_hold_out(self):
        with self.assertRaisesRegex(ValueError, "chose none or all. Pass `validation_data`"):
            tensorflow_source(dataset_of(2)).hold_out(0.001, EXPECTED)

    def test_bad_datasets(self):
        def refused(words, dataset, error=ValueError):
            with self.assertRaisesRegex(error, words):
                tensorflow_source(dataset)

        x, y = vectors(8)
        refused("infinite.*repeat", dataset_of(8).repeat())
        refused("an empty dataset", dataset_of(8).take(0))
        refused("single samples.*batch", tf.data.Dataset.from_tensor_slices((x, y)))
        refused(r"pairs|\(inputs, labels\)`. Received: 4 parts", tf.data.Dataset.from_tensors((x, y, y, y)), TypeError)
        refused("Received: TensorSpec", tf.data.Dataset.from_tensors(x), TypeError)
        refused("labels from 0 to 4", tf.data.Dataset.from_tensor_slices((x, np.arange(8) % 5)).batch(8))
        sparse = tf.sparse.from_dense(x)
        refused("dense.* SparseTensorSpec", tf.data.Dataset.from_tensor_slices((sparse, y)).batch(4), TypeError)
        bad = x.copy()
        bad[6, 1] = np.nan
        refused("NaN or infinity in sample 2", tf.data.Dataset.from_tensor_slices((bad, y)).batch(4))


class Batches:
    """Eight batches of five samples, as a class of the user's own."""

    ended = 0

    def __len__(self):
        return 8

    def __getitem__(self, index):
        x, y = vectors(40)
        return x[index::8], y[index::8]

    def on_epoch_end(self):
        self.ended += 1


class Moving(keras.utils.PyDataset):
    """Four batches of five samples, which move between batches after each epoch."""

    def __init__(self):
        super().__init__()
        self.order = np.arange(20)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        x, y = vectors(20)
        chosen = self.order[index * 5 : index * 5 + 5]
        return x[chosen], y[chosen]

    def on_epoch_end(self):
        self.order = np.roll(self.order, 3)


def read(batches):
    return [int(value) for index in range(len(batches)) for value in batches[index][0][:, 0]]


class PyDatasetSourceTest(tf.test.TestCase):
    def test_any_object_with_length_and_items_will_do(self):
        source = PyDatasetSource.checked(Batches(), EXPECTED, "`data`", 0)
        self.assertEqual((source.batch_size, source.num_batches(), source.num_batches(64)), (5, 8, 8))
        self.assertAllEqual(source.take(6)[0][:, 0], [0, 8, 16, 24, 32, 1])
        training = source.batches(training=True)
        self.assertEqual(sorted(read(training)), list(range(40)))
        first = read(training)
        self.assertTrue(set_epoch(training, 1))
        self.assertNotEqual(read(training), first)

    def test_whole_batches_are_held_out(self):
        source = PyDatasetSource.checked(Batches(), EXPECTED, "`data`", 4)
        kept, held_out, text = source.hold_out(0.25, EXPECTED)
        self.assertEqual(text, "2 of 8 batches held out of the training data (seed 4)")
        self.assertEqual((kept.num_batches(), held_out.num_batches()), (6, 2))
        self.assertEqual(sorted(read(kept.batches()) + read(held_out.batches())), list(range(40)))
        again = PyDatasetSource.checked(Batches(), EXPECTED, "`data`", 4).hold_out(0.25, EXPECTED)[1]
        self.assertEqual(read(again.batches()), read(held_out.batches()))
        self.assertEqual(
            PyDatasetSource.checked(Batches(), EXPECTED, "`data`", 4).hold_out(0.01, EXPECTED)[1].num_batches(), 1
        )

    def test_held_out_samples_stay_held_out_in_a_dataset_that_moves_them(self):
        kept, held_out, _ = PyDatasetSource.checked(Moving(), EXPECTED, "`data`", 0).hold_out(0.25, EXPECTED)
        before = read(held_out.batches())
        training = kept.batches(training=True)
        for _ in range(3):
            training.on_epoch_end()
        self.assertEqual(read(held_out.batches()), before)
        self.assertEmpty(set(read(training)) & set(before))

    def test_a_dataset_hears_of_the_end_of_training_epochs_only(self):
        source = PyDatasetSource.checked(Batches(), EXPECTED, "`data`", 0)
        source.batches().on_epoch_end()
        self.assertEqual(source.dataset.ended, 0)
        source.batches(training=True).on_epoch_end()
        self.assertEqual(source.dataset.ended, 1)

    def test_bad_datasets(self):
        def refused(words, dataset, error=ValueError):
            with self.assertRaisesRegex(error, words):
                PyDatasetSource.checked(dataset, EXPECTED, "`data`", 0).hold_out(0.5, EXPECTED)

        class Changed(Batches):
            def __init__(self, length=8, change=lambda x, y: (x, y)):
                self.length, self.change = length, change

            def __len__(self):
                return self.length

            def __getitem__(self, index):
                return self.change(*super().__getitem__(index))

        class Endless(keras.utils.PyDataset):
            num_batches = None

            def __getitem__(self, index):
                return vectors(5)

        rng = np.random.default_rng(0)
        refused("an empty dataset", Changed(length=0))
        refused("at least 2 batches.*Received: 1.*validation_data", Changed(length=1))
        refused("without a length", Endless())
        refused(r"\[batch, 3\].*\[5, 2\]", Changed(change=lambda x, y: (x[:, :2], y)))
        refused("labels from 1 to 101", Changed(change=lambda x, y: (x, y + np.array([1, 1, 1, 100, 101]))))
        refused("integers from 0 to 3", Changed(change=lambda x, y: (x, y * 1.0)), TypeError)
        refused("Received: ndarray", Changed(change=lambda x, y: x), TypeError)
        refused("same in every epoch.*validation_data", Changed(change=lambda x, y: (x + rng.random(3), y)))


if __name__ == "__main__":
    tf.test.main()
