"""The models that the coverage sweep prunes: all of keras.applications, KerasHub backbones, and every topology."""

import importlib.util
import inspect
import sys
import zlib
from dataclasses import dataclass

import applications
import keras
import numpy as np
import topologies
from topologies.registry import random_inputs, randomise

APPLICATION, HUB, TOPOLOGY = "keras.applications", "keras_hub", "topology"
SAMPLES = 8

# Multiply-adds that remain, at most, as a share of all, where that is not half: worked out before the model was tried.
# (Each topology says for itself, in `smallest`, how small it can be made at all.)
# Blocks that KerasHub writes as one layer have no handler: they are left whole, named, and their multiply-adds are not
# counted. Around them nothing can go: what enters them, what leaves them and the model's output stay.
_ONE_LAYER = "each block is one layer of KerasHub's own, and no handler is registered for it"
SHARES = {
    f"{name}Backbone": (1.0, _ONE_LAYER) for name in ("Bert", "DistilBert", "EfficientNet", "FNet", "GPT2", "MobileNet")
}


@dataclass(frozen=True)
class Subject:
    """A model ready to be pruned.

    Attributes:
        model: with random weights and running statistics.
        inputs: a batch, in the structure of the model's inputs.
        limit: MACs that may remain.
        because: why these are more than half; empty where they are half.
        tolerance: largest difference relative to the largest output that counts as equal.
        through_norms: whether channels go where that changes a statistic over them.
        custom: what its file needs to be loaded, by name; empty for stock layers.
    """

    model: keras.Model
    inputs: object
    share: float = 0.5
    least: int = 0
    because: str = ""
    tolerance: float = 1e-5
    through_norms: bool = False
    custom: tuple = ()


def names(kind):
    """Names of all models of a kind; KerasHub's are none where it cannot be imported."""
    if kind == TOPOLOGY:
        return list(topologies.TOPOLOGIES)
    if kind == APPLICATION:
        return list(applications.constructors())
    if importlib.util.find_spec("keras_hub") is None:
        return []
    import coverage_hub

    return list(coverage_hub.BACKBONES)


def smallest_application(name):
    """The application on its smallest image, with logits: probabilities of 1,000 classes would all be small."""
    options = {}
    if "classifier_activation" in inspect.signature(applications.constructors()[name]).parameters:
        options["classifier_activation"] = None
    return applications.smallest(name, **options)


def subject(kind, name):
    """The model of this name, the same in every process."""
    if kind == TOPOLOGY:
        return _topology(name)
    seed = zlib.crc32(name.encode())
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    if kind == APPLICATION:
        model = smallest_application(name)
    else:
        import coverage_hub

        model = coverage_hub.BACKBONES[name]()
    inputs = random_inputs(model, rng, SAMPLES)
    if isinstance(inputs, dict):  # of a backbone for text: masks and numbers of segments are 0 or 1
        inputs = {key: value if key == "token_ids" else value % 2 for key, value in inputs.items()}
    if any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers):
        inputs = keras.tree.map_structure(lambda x: (60 * x + 128).astype("float32"), inputs)  # numbers of pixels
    randomise(model, rng)
    settle(model, inputs, rng)
    share, because = SHARES.get(name, (0.5, ""))
    return Subject(model, inputs, share, because=because)


def _topology(name):
    built = topologies.build(name)
    entry = built.topology
    custom = {} if entry.stock else vars(sys.modules[entry.function.__module__])
    custom = {key: value for key, value in custom.items() if inspect.isclass(value) or inspect.isfunction(value)}
    because = "the smallest there is, worked out by hand"
    options = {"tolerance": entry.tolerance, "through_norms": entry.through_norms, "custom": tuple(custom.items())}
    return Subject(built.model, built.inputs, 0.5, entry.smallest, because, **options)


def settle(model, inputs, rng):
    """Gives BatchNormalization nearly the statistics that the inputs make, and no more than nearly.

    With statistics that have nothing to do with what arrives, a hundred layers make numbers of any size. Where no layer
    normalises (VGG), kernels are as large as ReLUs need them (He et al. 2015), so that outputs follow the inputs.
    """
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    norms = [norm for norm in norms if norm.built]  # KerasHub's blocks hold some that they never call
    if not any("norm" in type(layer).__name__.lower() for layer in model._flatten_layers()):
        for variable in model.trainable_variables:
            if variable.name == "kernel":
                variable.assign(variable * np.sqrt(2.0))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(inputs, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        variance = keras.ops.convert_to_numpy(norm.moving_variance)
        variance = (variance + variance.mean()) / 2 + 1e-3
        norm.moving_variance.assign(variance * rng.uniform(0.7, 1.4, variance.shape))
        offset = rng.normal(0.0, 0.2, variance.shape) * np.sqrt(variance)
        norm.moving_mean.assign(keras.ops.convert_to_numpy(norm.moving_mean) + offset)


def size_hint(kind, name):
    """A number that grows with the size of a model, without making it."""
    digits = int("".join(c for c in name if c.isdigit())[-3:] or 0)
    word = next(
        (i for i, end in enumerate(("Mobile", "Tiny", "Small", "Base", "XLarge", "Large"), 1) if end in name), 3
    )
    return (word, digits)
