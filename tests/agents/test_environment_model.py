import random

import keras
import numpy as np
import tensorflow as tf

from tfcompress.agents import EnvironmentModel


def gru_by_hand(embeddings, kernel, recurrent_kernel, bias):
    """Keras' GRU (gates in the order z, r, h; reset after the matrix product), from a hidden state of zeros."""
    hidden, outputs = np.zeros(len(recurrent_kernel)), []
    for embedding in embeddings:
        update_x, reset_x, new_x = np.split(embedding @ kernel + bias[0], 3)
        update_h, reset_h, new_h = np.split(hidden @ recurrent_kernel + bias[1], 3)
        update, reset = 1 / (1 + np.exp(-update_x - update_h)), 1 / (1 + np.exp(-reset_x - reset_h))
        hidden = update * hidden + (1 - update) * np.tanh(new_x + reset * new_h)
        outputs.append(hidden)
    return np.array(outputs)


class WithoutZ(EnvironmentModel):
    """The same decoder, with z replaced by zeros."""

    def representations(self, epochs=None):
        return 0.0 * super().representations(epochs)


def drifting_rewards(rng, count, epochs):
    """Transitions whose rewards depend on state, action and epoch: the best action moves from 0.2 to 0.8."""
    states, actions = rng.random([count, 9]).astype("float32"), rng.random(count).astype("float32")
    epoch = rng.integers(0, epochs, count).astype("int32")
    rewards = 0.9 - np.abs(actions - 0.2 - 0.6 * epoch / (epochs - 1)) * (0.5 + 0.5 * states[:, 0])
    return states, actions, rewards.astype("float32"), epoch


def held_out_loss(model, epochs, steps):
    """Trains a model on drifting rewards; returns its loss on transitions it has not seen."""
    rng = np.random.default_rng(0)
    seen, held_out = drifting_rewards(rng, 2000, epochs), drifting_rewards(rng, 500, epochs)
    step = tf.function(model.train_step, autograph=False)
    for _ in range(steps):
        rows = rng.integers(0, 2000, 64)
        step(*(tf.constant(column[rows]) for column in seen))
    states, actions, rewards, epoch = held_out
    return float(model.loss(states, actions, rewards, tf.gather(model.representations(), epoch)))


class EnvironmentModelTest(tf.test.TestCase):
    def test_z_is_the_gru_over_the_embeddings(self):
        model = EnvironmentModel(epochs=5, state_size=9)
        weights = [variable.numpy() for variable in model.trainable_variables[:4]]
        self.assertEqual([value.shape for value in weights], [(5, 128), (128, 384), (128, 384), (2, 384)])
        z = model.representations()
        self.assertEqual((z.shape, z.dtype), ((5, 128), tf.float32))
        self.assertAllClose(z, gru_by_hand(*weights), atol=1e-6)
        self.assertAllClose(model.representations(2), z[:2], atol=1e-7)

    def test_z_depends_on_the_epochs_so_far_only(self):
        model = EnvironmentModel(epochs=5, state_size=9)
        before = model.representations().numpy()
        embeddings = model.trainable_variables[0]
        changed = embeddings.numpy()
        changed[3] += 1.0
        embeddings.assign(changed)
        differs = np.abs(model.representations().numpy() - before).max(axis=1) > 1e-3
        self.assertAllEqual(differs, [False, False, False, True, True])

    def test_the_decoder_reads_state_action_and_z(self):
        model = EnvironmentModel(epochs=2, state_size=3, hidden=(7, 5))
        rng = np.random.default_rng(0)
        states, actions, z = (rng.random(shape).astype("float32") for shape in ((4, 3), (4,), (4, 128)))
        features = np.concatenate([states, actions[:, None], z], axis=1)
        weights = [variable.numpy() for variable in model.trainable_variables[4:]]
        self.assertEqual([value.shape for value in weights], [(132, 7), (7,), (7, 5), (5,), (5, 1), (1,)])
        for kernel, bias in zip(weights[0:4:2], weights[1:4:2], strict=True):
            features = np.maximum(features @ kernel + bias, 0)
        expected = (features @ weights[4] + weights[5])[:, 0]
        self.assertAllClose(model.predict(states, actions, z), expected, atol=1e-6)
        rewards = np.array([0.1, 0.2, 0.3, 0.4], "float32")
        self.assertAllClose(model.loss(states, actions, rewards, z), np.mean((expected - rewards) ** 2))

    def test_one_step_teaches_embeddings_gru_and_decoder(self):
        epochs = 6
        model = EnvironmentModel(epochs, state_size=9)
        rng = np.random.default_rng(0)
        states, actions, rewards, _ = drifting_rewards(rng, 64, epochs)
        before = [variable.numpy() for variable in model.trainable_variables]
        _, z = model.train_step(states, actions, rewards, tf.constant([1, 3] * 32))
        self.assertEqual(z.shape, (64, 128))
        moved = [np.abs(v.numpy() - b) for v, b in zip(model.trainable_variables, before, strict=True)]
        # The epochs of the batch and all before them; those to come wait for their rewards.
        self.assertAllEqual(moved[0].max(axis=1) > 0, [True, True, True, True, False, False])
        for variable, distance in zip(model.trainable_variables, moved, strict=True):
            # Adam's first step is the learning rate in the direction of the gradient, where there is one.
            self.assertTrue(np.isfinite(distance).all(), variable.path)
            self.assertAllClose(distance.max(), 1e-3, rtol=0.05, msg=variable.path)

    def test_z_is_cut_off_from_the_gradient_of_others(self):
        model = EnvironmentModel(epochs=3, state_size=9)
        states, actions, rewards, epochs = drifting_rewards(np.random.default_rng(0), 8, 3)
        with tf.GradientTape() as tape:
            _, z = model.train_step(states, actions, rewards, epochs)
            loss = tf.reduce_sum(z)
        self.assertEqual(
            tape.gradient(loss, [variable.value for variable in model.trainable_variables]),
            [None] * len(model.trainable_variables),
        )

    def test_z_explains_rewards_that_drift(self):
        # Without z the best guess is the mean over epochs; its error is the variance that the epoch causes.
        epochs, steps = 8, 300
        with_z = held_out_loss(EnvironmentModel(epochs, state_size=9), epochs, steps)
        without_z = held_out_loss(WithoutZ(epochs, state_size=9), epochs, steps)
        self.assertLess(with_z, 0.25 * without_z)

    def test_the_same_seed_gives_the_same_weights_and_no_global_state_is_used(self):
        def weights(seed):
            return np.concatenate([v.numpy().ravel() for v in EnvironmentModel(3, 9, seed=seed).variables])

        random.seed(0)
        np.random.seed(0)
        python_state, numpy_state = random.getstate(), np.random.get_state()[1]
        first, second, other = weights(1), weights(1), weights(2)
        self.assertAllEqual(first, second)
        self.assertGreater(np.abs(first - other).max(), 0)
        self.assertEqual(random.getstate(), python_state)
        self.assertAllEqual(np.random.get_state()[1], numpy_state)

    def test_stays_in_float32_under_mixed_precision(self):
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = EnvironmentModel(3, state_size=9)
            loss, z = model.train_step(*drifting_rewards(np.random.default_rng(0), 8, 3))
            self.assertEqual((loss.dtype, z.dtype), (tf.float32, tf.float32))
        finally:
            keras.config.set_dtype_policy(policy)
