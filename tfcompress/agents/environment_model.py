"""The environment model of RLAL: how the changing weights of the network affect the agent's reward."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

__all__ = ["EnvironmentModel"]


class EnvironmentModel:
    """Epoch embeddings, a GRU over them, and a decoder that predicts rewards: Equations (2) to (5) of RLAL.

    z_k, the GRU's output after the embeddings of the epochs up to k, represents the state of the network's weights
    in epoch k. It is useful if the decoder can predict with it the reward r of a pair (S, a). Embeddings, GRU and
    decoder learn only from that prediction; the agent reads z and sends no gradient back.

    The widths of embeddings and decoder, and Adam's 1e-3 with (0.9, 0.999), are the paper's; it does not give the width
    of the GRU, which equals that of the embeddings here.

    Args:
        epochs: the number of epochs T that the run may have.
        state_size: the length of a state S.
        width: the width of embeddings, GRU and z.
        hidden: the widths of the decoder's hidden layers.
        learning_rate: learning rate of Adam.
        seed: random seed of the initial weights. No global random state is read or changed.
    """

    def __init__(
        self,
        epochs: int,
        state_size: int,
        width: int = 128,
        hidden: Sequence[int] = (300, 300),
        learning_rate: float = 1e-3,
        seed: int = 0,
    ):
        self.epochs = epochs
        self.width = width
        # Keras draws a seed from Python's global random state for whatever is given none: all are given one.
        seeds = (int(value) for value in np.random.SeedSequence(seed).generate_state(8 + len(hidden)) >> 1)
        # An explicit dtype keeps a global policy such as mixed_float16, meant for the network, out of the agent.
        self._embeddings = keras.layers.Embedding(
            epochs,
            width,
            embeddings_initializer=keras.initializers.RandomUniform(-0.05, 0.05, seed=next(seeds)),
            dtype="float32",
            name="epoch_embeddings",
        )
        self._gru = keras.layers.GRU(
            width,
            return_sequences=True,
            kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            seed=next(seeds),
            dtype="float32",
            name="environment_gru",
        )
        self._decoder = [
            keras.layers.Dense(
                units,
                activation=activation,
                kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
                dtype="float32",
                name=f"decoder_{index}",
            )
            for index, (units, activation) in enumerate([*((units, "relu") for units in hidden), (1, None)])
        ]
        self._build(state_size)
        self.optimizer = keras.optimizers.Adam(learning_rate, beta_1=0.9, beta_2=0.999)
        self.optimizer.build(self.trainable_variables)

    def _build(self, state_size: int) -> None:
        self._embeddings.build((1, self.epochs))
        self._gru.build((1, self.epochs, self.width))
        width = state_size + 1 + self.width
        for layer in self._decoder:
            layer.build((None, width))
            width = layer.units

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The weights of embeddings, GRU and decoder, in this order."""
        layers = (self._embeddings, self._gru, *self._decoder)
        return [variable for layer in layers for variable in layer.trainable_variables]

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables to save: the weights, and the optimizer's slots and step counter."""
        return [*self.trainable_variables, *self.optimizer.variables]

    def representations(self, epochs: int | tf.Tensor | None = None) -> tf.Tensor:
        """Returns z of the first epochs, Equation (2): z_k depends only on the embeddings of the epochs up to k.

        Args:
            epochs: number of epochs; by default all. Fewer are cheaper: the GRU takes about 0.1 ms per epoch.

        Returns:
            float32 `[epochs, width]`.
        """
        embeddings = self._embeddings(tf.range(self.epochs if epochs is None else epochs)[tf.newaxis])
        return self._gru(embeddings)[0]  # h0 is zeros by default

    def predict(self, states: tf.Tensor, actions: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """Returns the decoder's rewards, Equation (4).

        Args:
            states: float32 `[batch, state_size]`.
            actions: float32 `[batch]`.
            z: float32 `[batch, width]`.

        Returns:
            float32 `[batch]`.
        """
        features = tf.concat([states, actions[:, tf.newaxis], z], axis=-1)
        for layer in self._decoder:
            features = layer(features)
        return features[:, 0]

    def loss(self, states: tf.Tensor, actions: tf.Tensor, rewards: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """Returns L_recons, Equation (3): the mean squared error of the predicted rewards.

        Args:
            states: float32 `[batch, state_size]`.
            actions: float32 `[batch]`.
            rewards: float32 `[batch]`, as earned.
            z: float32 `[batch, width]`, of the epochs in which they were earned.
        """
        return tf.reduce_mean(tf.math.squared_difference(self.predict(states, actions, z), rewards))

    def train_step(
        self, states: tf.Tensor, actions: tf.Tensor, rewards: tf.Tensor, epochs: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes one step of Adam on L_recons for embeddings, GRU and decoder; to be called inside a `tf.function`.

        Args:
            states: float32 `[batch, state_size]`.
            actions: float32 `[batch]`.
            rewards: float32 `[batch]`.
            epochs: int32 `[batch]`, the epochs in which the rewards were earned, from 0.

        Returns:
            The loss before the step, and z `[batch, width]` as computed for it, without gradient.
        """
        variables = [variable.value for variable in self.trainable_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            # Inside the tape, or GRU and embeddings would never learn.
            z = tf.gather(self.representations(tf.reduce_max(epochs) + 1), epochs)
            loss = self.loss(states, actions, rewards, z)
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
        self.optimizer.apply(gradients, self.trainable_variables)
        return loss, tf.stop_gradient(z)
