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
    """How a generator is trained against a discriminator; defaults are those of StarGAN (Choi et al. 2018).

    Attributes:
        steps: updates of the discriminator before each of the generator's. StarGAN's 5 are each on another batch; here
            all are on the generator's batch, each with other translations of it. 0 leaves it as it is, as section 4.1
            of LIT says (its released code trains it): a generator soon finds images that please a fixed one.
        learning_rate: Adam's constant learning rate for the discriminator.
        domain_weight: lambda_cls.
        reconstruction_weight: lambda_rec.
        penalty_weight: lambda_gp.
        exclusive_domains: whether an image is of one domain (softmax), or may be of several (attributes, sigmoid).

    Raises:
        TypeError, ValueError: a setting of another type, out of its range, or without effect.
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
            why = "with steps=0, which leaves the discriminator as it is"
            expect.unused(self, ["learning_rate", "penalty_weight"], why)


@dataclasses.dataclass(frozen=True)
class Generative(Distilling):
    """A method that serves generators too.

    Attributes:
        discriminator: a model that a generator is trained against; `None` for none. Where `adversarial.steps` is above
            0 it is trained too, in place.
        adversarial: settings of that training.
        shuffled_inputs: which inputs, counted from 0, are shuffled within each batch while training, such as the
            domains that a generator translates to; `None` for the second of two where a discriminator is given.
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
            expect.unused(self, ["adversarial"], "without a discriminator=, which it is about")
        elif self.teach is not None:
            expect.refuse("teach", "None with a discriminator=, which is what a generator learns from", self.teach)

    def settings(self) -> dict[str, Any]:
        """The settings as plain data; of a discriminator that learns its architecture alone, as its weights change."""
        settings = super().settings()
        if self.discriminator is not None and self.adversarial.steps:
            text = self.discriminator.to_json().encode()
            settings["discriminator"] = {"model": self.discriminator.name, "crc32": zlib.crc32(text)}
        return settings

    def contents(self, contents: Contents) -> dict[str, Any]:
        """The settings that decide the outcome; of a discriminator that learns its architecture."""
        settings = super().contents(contents)
        if self.discriminator is None or not self.adversarial.steps:
            return settings
        architecture = model_contents(self.discriminator, contents, "method.discriminator")["architecture"]
        return {**settings, "discriminator": architecture}

    def shuffled(self, task: Task) -> tuple[int, ...]:
        """Which inputs are shuffled."""
        if self.shuffled_inputs is not None:
            return self.shuffled_inputs
        return (1,) if self.discriminator is not None and len(task.original.inputs) == 2 else ()

    def check(self, task: Task) -> None:
        """Refuses shuffled inputs for a classifier."""
        super().check(task)
        if (shuffled := self.shuffled(task)) and self.classifies(task):
            raise _learns_labels(shuffled)

    def check_generator(self, task: Task, generates: bool) -> None:
        """Refuses a discriminator that does not fit, and inputs that there are not."""
        inputs = len(task.original.inputs)
        shuffled = self.shuffled(task)
        if outside := [i for i in shuffled if not 0 <= i < inputs]:
            raise ValueError(f"Expected `shuffled_inputs` among the {inputs} inputs, from 0. Received: {outside}")
        if shuffled and not generates:
            raise _learns_labels(shuffled)
        if shuffled and self.teach is not None:
            expect.refuse(
                "teach", "None where inputs are shuffled, as labels would belong to other samples", self.teach
            )
        if self.discriminator is None:
            return
        if shuffled not in ((), (1,)):
            raise ValueError(
                "Expected `shuffled_inputs` to be the second input, the domains, or none, where a discriminator is "
                f"given. Received: shuffled_inputs={shuffled}"
            )
        if not generates:
            raise ValueError(
                "Expected beta=0 with a discriminator, as a generator has no classes to distil. Received: "
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
        """Trains a generator by the losses of StarGAN, the discriminator too where it is to learn."""
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
        "Expected no shuffled_inputs where labels are learned, as they would belong to other samples. "
        f"Received: shuffled_inputs={shuffled}"
    )
