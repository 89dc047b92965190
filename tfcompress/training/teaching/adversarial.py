"""Fine-tuning a generator against a discriminator: the losses of StarGAN (Choi et al. 2018).

Needs the TensorFlow backend when the discriminator learns, for the gradient of its gradient penalty.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.training.state import load_model_state, load_optimizer_state, model_state, optimizer_state
from tfcompress.training.teaching.losses import Step

__all__ = ["Adversarial", "DomainCritic"]


@dataclasses.dataclass(frozen=True, eq=False)
class Adversarial:
    """The generator's loss of StarGAN, Equation (6): `L_adv + domain_weight * L_cls + reconstruction_weight * L_rec`.

    L_adv (Equation 8, of Wasserstein GANs) is minus the mean of the discriminator's map for the generated images, L_cls
    (Equation 3) its cross-entropy with the requested domain, L_rec (Equation 4) the absolute difference between an
    image and its translation back. A generator without domains cannot translate back: L_rec is then the absolute
    difference to the teacher's output, or to the labels, and there is no L_cls.

    Attributes:
        generator: from `(images [batch, h, w, c], domains [batch, domains])`, or images alone, to images.
        discriminator: from images to `(map of real and made places, domain logits [batch, domains])`, or only the map.
        domain_weight: weight of the domain loss (lambda_cls); StarGAN's is 1.
        reconstruction_weight: weight of the reconstruction loss (lambda_rec); StarGAN's is 10.
        exclusive: whether an image belongs to one domain (softmax), or may belong to several (attributes, sigmoid).
        against_labels: whether a generator without domains is compared with the labels.
    """

    generator: keras.Model
    discriminator: keras.Model
    domain_weight: float = 1.0
    reconstruction_weight: float = 10.0
    exclusive: bool = True
    against_labels: bool = False

    def __post_init__(self) -> None:
        check_discriminator(self.generator, self.discriminator)

    @property
    def has_domains(self) -> bool:
        """Whether the generator reads a domain."""
        return len(self.generator.inputs) == 2

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher is needed as reference for the generated images."""
        return not self.has_domains and not self.against_labels

    def __call__(self, step: Step) -> Any:
        """Returns the loss, a scalar."""
        made = ops.cast(step.outputs, "float32")
        judged = keras.tree.flatten(self.discriminator(made, training=False))
        loss = -ops.mean(ops.cast(judged[0], "float32"))
        if not self.has_domains:
            target = ops.cast(step.teacher if self.needs_teacher else step.y, made.dtype)
            return loss + self.reconstruction_weight * ops.mean(ops.abs(made - target))
        images, own = map(ops.convert_to_tensor, keras.tree.flatten(step.x))
        _, wanted = keras.tree.flatten(step.fed)
        back = self.generator(keras.tree.pack_sequence_as(step.x, [made, own]), training=True)
        images, back = ops.cast(images, "float32"), ops.cast(back, "float32")
        loss = loss + self.domain_weight * domain_loss(wanted, judged[1], self.exclusive)
        return loss + self.reconstruction_weight * ops.mean(ops.abs(images - back))


def domain_loss(wanted: Any, logits: Any, exclusive: bool) -> Any:
    """Returns the cross-entropy of domain logits `[batch, domains]` with domains of the same shape, a scalar."""
    wanted, logits = ops.cast(wanted, "float32"), ops.cast(logits, "float32")
    if exclusive:
        return ops.mean(ops.categorical_crossentropy(wanted, logits, from_logits=True))
    return ops.mean(ops.sum(ops.binary_crossentropy(wanted, logits, from_logits=True), axis=-1))


def check_discriminator(generator: keras.Model, discriminator: Any) -> None:
    """Checks that a discriminator reads the generator's outputs, and has the outputs that its domains need.

    Raises:
        TypeError: not a built model.
        ValueError: other shapes.
    """
    if not isinstance(discriminator, keras.Model) or not discriminator.built:
        raise TypeError(f"Expected `discriminator` to be a built keras.Model. Received: {discriminator!r}.")
    inputs = [tuple(tensor.shape) for tensor in generator.inputs]
    made, read = tuple(generator.outputs[0].shape), tuple(discriminator.inputs[0].shape)
    outputs = [tuple(tensor.shape) for tensor in discriminator.outputs]
    if made != read or len(inputs) > 2:
        raise ValueError(
            f"Expected a generator of images and a discriminator that reads them, {made}. Received: a generator with "
            f"inputs {inputs}, and a discriminator for {read}."
        )
    if len(inputs) == 2 and (len(outputs) != 2 or outputs[1] != inputs[1]):
        raise ValueError(
            f"Expected a discriminator with two outputs, a map and logits of shape {inputs[1]}, as the generator reads "
            f"domains of that shape. Received: outputs of {outputs}."
        )


class DomainCritic:
    """Trains a discriminator as StarGAN does: Wasserstein loss with gradient penalty (Equations 5 and 8).

    Args:
        discriminator: as for `Adversarial`; trained in place.
        steps: its updates before each update of the generator; 5 in StarGAN.
        learning_rate: learning rate of Adam (0.5, 0.999); StarGAN's is 1e-4.
        domain_weight: weight of the domain loss (lambda_cls).
        penalty_weight: weight of the gradient penalty (lambda_gp); StarGAN's is 10.
        exclusive: as for `Adversarial`.
        seed: random seed for the points between real and made images where the penalty is computed.
    """

    def __init__(
        self,
        discriminator: keras.Model,
        steps: int = 5,
        learning_rate: float = 1e-4,
        domain_weight: float = 1.0,
        penalty_weight: float = 10.0,
        exclusive: bool = True,
        seed: int = 0,
    ) -> None:
        self.discriminator, self.steps = discriminator, steps
        self._domain_weight, self._penalty_weight, self._exclusive = domain_weight, penalty_weight, exclusive
        self._optimizer = keras.optimizers.Adam(learning_rate, beta_1=0.5, beta_2=0.999)
        self._optimizer.build(discriminator.trainable_variables)
        # Of its own, and in the state, so that nothing depends on the global random state.
        self._random = keras.random.SeedGenerator(seed)

    def learn(self, inputs: Any, feed: Callable[[Any], Any], student: keras.Model) -> None:
        """Takes `steps` steps, each on new translations of the batch."""
        import tensorflow as tf

        real, *domains = keras.tree.flatten(inputs)
        real = ops.cast(real, "float32")
        for _ in range(self.steps):
            fed = feed(inputs)
            with keras.StatelessScope():  # nothing of the generator changes
                made = ops.cast(ops.stop_gradient(student(fed, training=True)), "float32")
            with tf.GradientTape() as tape:
                loss = self._loss(real, made, domains)
            variables = self.discriminator.trainable_variables
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            self._optimizer.apply(gradients, variables)

    def _loss(self, real: Any, made: Any, domains: list[Any]) -> Any:
        judged = keras.tree.flatten(self.discriminator(real, training=True))
        loss = ops.mean(self._map(made)) - ops.mean(judged[0])
        if domains:
            loss = loss + self._domain_weight * domain_loss(domains[0], judged[1], self._exclusive)
        return loss + self._penalty_weight * self.gradient_penalty(real, made)

    def _map(self, images: Any) -> Any:
        return keras.tree.flatten(self.discriminator(images, training=True))[0]

    def gradient_penalty(self, real: Any, made: Any) -> Any:
        """Returns the mean of `(|gradient of the sum| - 1)^2` between real and made images (Gulrajani et al. 2017)."""
        import tensorflow as tf

        share = keras.random.uniform((ops.shape(real)[0], *[1] * (len(real.shape) - 1)), seed=self._random)
        between = share * real + (1 - share) * made
        with tf.GradientTape() as tape:
            tape.watch(between)
            total = tf.reduce_sum(self._map(between))
        gradient = tape.gradient(total, between)
        norms = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=list(range(1, len(real.shape)))) + 1e-12)
        return tf.reduce_mean(tf.square(norms - 1))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns the state of discriminator and optimizer, for a checkpoint."""
        parts = {"model": model_state(self.discriminator), "optimizer": optimizer_state(self._optimizer)}
        named = {f"{part}:{name}": value for part, values in parts.items() for name, value in values.items()}
        return {**named, "random": np.array(ops.convert_to_numpy(self._random.state))}

    def load_state_dict(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Restores the state that `state_dict` returned."""

        def part(name: str) -> dict[str, np.ndarray]:
            return {key.partition(":")[2]: v for key, v in tensors.items() if key.startswith(f"{name}:")}

        load_model_state(self.discriminator, part("model"))
        load_optimizer_state(self._optimizer, part("optimizer"))
        self._random.state.assign(tensors["random"])
