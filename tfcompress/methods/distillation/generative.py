"""Settings of methods that train generators: a discriminator, and domains to translate to."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import keras

from tfcompress import expect
from tfcompress.fingerprint import Contents, model_contents
from tfcompress.methods.distillation.base import Distilling
from tfcompress.methods.distillation.lessons import train_on_outputs
from tfcompress.task import Task
from tfcompress.training import Training
from tfcompress.training.teaching import Adversarial, DomainCritic, check_discriminator

__all__ = ["AdversarialSettings", "Generative"]


@dataclasses.dataclass(frozen=True)
class AdversarialSettings:
    """Settings for training a generator against a discriminator; defaults are those of StarGAN (Choi et al. 2018).

    Attributes:
        steps: updates of the discriminator before each update of the generator. StarGAN's 5 use one batch each; here
            all use the generator's batch, each with other translations of it. 0 leaves the discriminator unchanged, as
            section 4.1 of LIT says (its released code trains it): a generator soon finds images that please a fixed
            one.
        learning_rate: constant learning rate of Adam for the discriminator.
        domain_weight: weight of the domain loss (lambda_cls).
        reconstruction_weight: weight of the reconstruction loss (lambda_rec).
        penalty_weight: weight of the gradient penalty (lambda_gp).
        exclusive_domains: whether an image belongs to one domain (softmax), or may belong to several (attributes,
            sigmoid).

    Raises:
        TypeError, ValueError: a setting has another type, is out of range, or has no effect.
    """

    steps: int = 5
    learning_rate: float = 1e-4
    domain_weight: float = 1.0
    reconstruction_weight: float = 10.0
    penalty_weight: float = 10.0
    exclusive_domains: bool = True

    def __post_init__(self) -> None:
        expect.settings(self, expect.whole, "steps")
        weights = ("domain_weight", "reconstruction_weight", "penalty_weight")
        expect.settings(self, expect.number, "learning_rate", *weights, at_least=0)
        expect.settings(self, expect.flag, "exclusive_domains")
        if not self.steps:
            why = "with steps=0, which leaves the discriminator unchanged"
            expect.unused(self, ["learning_rate", "penalty_weight"], why)


@dataclasses.dataclass(frozen=True)
class Generative(Distilling):
    """A method that can train generators too.

    Attributes:
        discriminator: a model to train a generator against; `None` for none. If `adversarial.steps` is above 0, it is
            trained too, in place.
        adversarial: settings of that training.
        shuffled_inputs: inputs, counted from 0, that are shuffled within each batch while training, such as the domains
            that a generator translates to; `None` for the second of two inputs if there is a discriminator.
    """

    discriminator: keras.Model | None = None
    adversarial: AdversarialSettings = dataclasses.field(default_factory=AdversarialSettings)
    shuffled_inputs: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.instance, "discriminator", kinds=keras.Model, what="a keras.Model", or_none=True)
        how = {"kinds": AdversarialSettings, "what": "AdversarialSettings(...)"}
        expect.settings(self, expect.instance, "adversarial", **how)
        inputs = {"check": expect.whole, "what": "numbers of inputs, counted from 0", "unique": True, "or_none": True}
        expect.settings(self, expect.each, "shuffled_inputs", **inputs)
        if self.discriminator is None:
            expect.unused(self, ["adversarial"], "without a discriminator=")
        elif self.teach is not None:
            expect.refuse("teach", "None with a discriminator=, because the generator learns from that", self.teach)

    def settings(self) -> dict[str, Any]:
        """Returns the settings as plain data; of a training discriminator only the architecture."""
        settings = super().settings()
        if self.discriminator is not None and self.adversarial.steps:
            text = self.discriminator.to_json().encode()
            settings["discriminator"] = {"model": self.discriminator.name, "crc32": zlib.crc32(text)}
        return settings

    def contents(self, contents: Contents) -> dict[str, Any]:
        """Returns the settings that decide the outcome; of a training discriminator only the architecture."""
        settings = super().contents(contents)
        if self.discriminator is None or not self.adversarial.steps:
            return settings
        architecture = model_contents(self.discriminator, contents, "method.discriminator")["architecture"]
        return {**settings, "discriminator": architecture}

    def shuffled(self, task: Task) -> tuple[int, ...]:
        """Returns the numbers of the inputs to shuffle."""
        if self.shuffled_inputs is not None:
            return self.shuffled_inputs
        return (1,) if self.discriminator is not None and len(task.original.inputs) == 2 else ()

    def check(self, task: Task) -> None:
        """Refuses shuffled inputs for a classifier."""
        super().check(task)
        if (shuffled := self.shuffled(task)) and self.classifies(task):
            raise _learns_labels(shuffled)

    def check_generator(self, task: Task, generates: bool) -> None:
        """Refuses a discriminator that does not fit, and unknown inputs."""
        inputs = len(task.original.inputs)
        shuffled = self.shuffled(task)
        if outside := [i for i in shuffled if not 0 <= i < inputs]:
            raise ValueError(f"Expected `shuffled_inputs` among the {inputs} inputs, from 0. Received: {outside}")
        if shuffled and not generates:
            raise _learns_labels(shuffled)
        if shuffled and self.teach is not None:
            expect.refuse(
                "teach", "None if inputs are shuffled, because labels would belong to other samples", self.teach
            )
        if self.discriminator is None:
            return
        if shuffled not in ((), (1,)):
            raise ValueError(
                "Expected `shuffled_inputs` to be the second input, the domains, or none, if a discriminator is "
                f"given. Received: shuffled_inputs={shuffled}"
            )
        if not generates:
            raise ValueError(
                "Expected beta=0 with a discriminator, because a generator has no classes to distil. Received: "
                f"beta={getattr(self, 'beta', None)}"
            )
        check_discriminator(task.original, self.discriminator)

    def train_against_discriminator(
        self,
        student: keras.Model,
        teacher: keras.Model,
        task: Task,
        training: Training,
        phase: str,
        against_labels: bool = False,
    ) -> dict[str, list[Any]]:
        """Trains a generator with the losses of StarGAN, and the discriminator too if it learns."""
        how = self.adversarial
        critic = None
        if how.steps:
            weights = (how.domain_weight, how.penalty_weight, how.exclusive_domains)
            critic = DomainCritic(self.discriminator, how.steps, how.learning_rate, *weights, seed=task.seed)
        loss = Adversarial(
            student,
            self.discriminator,
            how.domain_weight,
            how.reconstruction_weight,
            how.exclusive_domains,
            against_labels,
        )
        feeding: dict[str, Any] = {"shuffled_inputs": self.shuffled(task), "critic": critic}
        return train_on_outputs(student, teacher, task, training, phase, loss, **feeding)


def _learns_labels(shuffled: tuple[int, ...]) -> ValueError:
    return ValueError(
        "Expected no shuffled_inputs if labels are learned, which would belong to other samples. "
        f"Received: shuffled_inputs={shuffled}"
    )
