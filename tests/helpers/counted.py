"""What tests of the zoo's counts share."""

from unittest import mock

import keras
import oracles
import tensorflow as tf

from tfcompress import cost


class CountedTest(tf.test.TestCase):
    """Compares what a network costs with numbers worked out otherwise."""

    def setUp(self):
        super().setUp()
        # Counts need no random weights.
        zeros = mock.patch.object(keras.initializers.VarianceScaling, "__call__", keras.initializers.Zeros.__call__)
        self.enterContext(zeros)

    def check(self, model, params, macs):
        """tfcompress and a walk over the layers that knows nothing of it give the expected counts."""
        self.assertEqual((oracles.walked_params(model), oracles.walked_macs(model)), (params, macs))
        result = cost(model)
        self.assertEqual((result.params, result.macs), (params, macs))
