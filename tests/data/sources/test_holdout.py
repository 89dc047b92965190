import numpy as np
import tensorflow as tf

from tfcompress.data.sources.holdout import hold_out_indices, is_held_out, stratified_counts


class StratifiedCountsTest(tf.test.TestCase):
    def test_largest_remainders_make_up_the_sum(self):
        rng = np.random.default_rng(0)
        # 20% of 10, 13 and 7 is 2, 2.6 and 1.4: six in all, so the 2.6 is rounded up.
        self.assertAllEqual(stratified_counts(np.array([10, 13, 7]), 0.2, rng), [2, 3, 1])
        self.assertAllEqual(stratified_counts(np.array([50, 50]), 0.1, rng), [5, 5])

    def test_at_least_one_and_never_all(self):
        rng = np.random.default_rng(0)
        self.assertEqual(stratified_counts(np.array([2, 1]), 0.01, rng).sum(), 1)
        self.assertEqual(stratified_counts(np.array([2, 1]), 0.99, rng).sum(), 2)


class HoldOutIndicesTest(tf.test.TestCase):
    def test_parts_are_disjoint_and_whole_and_stratified(self):
        labels = np.repeat([0, 1, 2], [100, 60, 40])  # sorted, as it often is
        kept, held_out = hold_out_indices(200, labels, 0.1, seed=7)
        self.assertAllEqual(np.sort(np.concatenate([kept, held_out])), np.arange(200))
        self.assertAllEqual(np.bincount(labels[held_out]), [10, 6, 4])
        self.assertGreater(len(set(labels[held_out[:6]])), 1)  # in random order

    def test_repeats_with_the_seed(self):
        first, again, other = (hold_out_indices(50, None, 0.2, seed)[1] for seed in (1, 1, 2))
        self.assertAllEqual(first, again)
        self.assertNotAllEqual(np.sort(first), np.sort(other))
        self.assertLen(first, 10)

    def test_one_sample_cannot_be_split(self):
        with self.assertRaisesRegex(ValueError, "at least 2 samples.*Received: 1.*validation_data"):
            hold_out_indices(1, None, 0.1, 0)


class IsHeldOutTest(tf.test.TestCase):
    def held_out(self, share, seed):
        return np.array([bool(is_held_out(tf.constant([value, 1.0]), share, seed)) for value in range(500)])

    def test_chooses_about_the_share_by_content_and_seed(self):
        first = self.held_out(0.2, seed=0)
        self.assertAllEqual(first, self.held_out(0.2, seed=0))
        self.assertBetween(first.sum(), 70, 130)  # 100 expected, with a standard deviation of 9
        self.assertNotAllEqual(first, self.held_out(0.2, seed=1))
        # A sample held out at a small share is held out at a larger one.
        self.assertTrue(np.all(self.held_out(0.5, seed=0)[first]))

    def test_looks_at_every_input(self):
        def chosen(b):
            return [bool(is_held_out({"a": tf.constant(a), "b": tf.constant(b)}, 0.5, 0)) for a in range(30)]

        self.assertNotEqual(chosen(1), chosen(2))


if __name__ == "__main__":
    tf.test.main()
