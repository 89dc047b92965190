"""ResNet-20 with all of DARC's default replacements, and the same graph written by hand, for benchmarks."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tfcompress import zoo
from tfcompress.methods import DARC
from tfcompress.methods.darc.imitation import Imitation
from tfcompress.methods.darc.relaxation import Penalized, relax
from tfcompress.methods.darc.units import ORIGINAL, CostTable, find_units
from tfcompress.network import Network
from tfcompress.replacements import by_name
from tfcompress.training import Objective, PenalizedModel, WeightDecay
from tfcompress.training.mixup import Mixup

BATCH = 64
DECAY = 1e-4
ALTERNATIVES = (ORIGINAL, *DARC().replacements)

cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def optimizer():
    """That of joint training."""
    return keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)


def batch_of(size=BATCH):
    """Random images of CIFAR size and their labels."""
    rng = np.random.default_rng(0)
    return tf.constant(rng.random((size, 32, 32, 3), dtype="float32")), tf.constant(rng.integers(0, 10, size))


def units_of(network):
    """Its units with the default replacements."""
    return find_units(network.costs, [by_name(name) for name in ALTERNATIVES[1:]], "layer", set(network.groups.layers))


def relaxed_network(left=ALTERNATIVES, strength=0.1):
    """The relaxed ResNet-20 in which these alternatives are left of each unit."""
    network = Network(zoo.resnet20())
    units = units_of(network)
    costs = CostTable.of(units, network.costs.total).shares(["macs"])
    remaining = {unit.name: tuple(name for name in unit.alternatives if name in left) for unit in units}
    return relax(network, units, remaining, Penalized(costs, strength))


def _conv(filters, size, strides, padding, name):
    return layers.Conv2D(filters, size, strides, padding, use_bias=False, name=name)


def _depthwise(multiplier, strides, padding):
    options = {"depth_multiplier": multiplier, "use_bias": False, "name": "depthwise"}
    return layers.DepthwiseConv2D(3, strides, padding, **options)


class ByHand(keras.Model):
    """The same graph from stock layers: each alternative is called, and their sum weighted by a plain variable.

    Nothing keeps alpha on the simplex, and nothing counts costs.
    """

    def __init__(self, left=ALTERNATIVES):
        super().__init__()
        self.alternatives, self.alphas, self.norms = {}, {}, {}
        self.pad, self.relu, self.pool = layers.ZeroPadding2D(1), layers.ReLU(), layers.GlobalAveragePooling2D()
        self._convolution("stem_conv", 3, 16, 1, left)
        self._norm("stem_bn")
        self.blocks, before = [], 16
        for section, width in enumerate((16, 32, 64), start=1):
            for block in (1, 2, 3):
                name, strides = f"section{section}_block{block}", 2 if section > 1 and block == 1 else 1
                self._convolution(f"{name}_conv1", before, width, strides, left)
                self._convolution(f"{name}_conv2", width, width, 1, left)
                self._norm(f"{name}_bn1"), self._norm(f"{name}_bn2")
                self.blocks.append((name, before, width, strides))
                before = width
        self.classifier = layers.Dense(10, name="classifier")
        self(np.zeros((1, 32, 32, 3), "float32"))

    def _convolution(self, name, before, width, strides, left):
        padding = "same" if strides == 1 else "valid"  # padded before, by the layer that all alternatives read
        crop = [] if strides == 1 else [layers.Cropping2D(1)]
        each = {
            ORIGINAL: [_conv(width, 3, strides, padding, name)],
            "3x3DS": [_depthwise(width // before, strides, padding)] if width % before == 0 else None,
            "1x1FC": [*crop, _conv(width, 1, strides, padding, "pointwise")],
            "3x3+1x1": [_depthwise(1, strides, padding), _conv(width, 1, 1, "same", "pointwise")],
        }
        self.alternatives[name] = [each[kind] for kind in ALTERNATIVES if kind in left and each[kind]]
        count = len(self.alternatives[name])
        if count > 1:
            share = keras.initializers.Constant(1 / count)
            self.alphas[name] = self.add_weight(shape=(count,), initializer=share, name="alpha")

    def _norm(self, name):
        self.norms[name] = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)

    def _mixed(self, name, x):
        total = None
        for number, chain in enumerate(self.alternatives[name]):
            y = x
            for layer in chain:
                y = layer(y)
            if name in self.alphas:
                y = self.alphas[name][number] * y
            total = y if total is None else total + y
        return total

    def call(self, inputs, training=None):
        x = self.relu(self.norms["stem_bn"](self._mixed("stem_conv", inputs), training=training))
        for name, before, width, strides in self.blocks:
            y = self._mixed(f"{name}_conv1", x if strides == 1 else self.pad(x))
            y = self.relu(self.norms[f"{name}_bn1"](y, training=training))
            y = self.norms[f"{name}_bn2"](self._mixed(f"{name}_conv2", y), training=training)
            if width != before:
                more = (width - before) // 2
                x = ops.pad(x[:, ::strides, ::strides], [[0, 0], [0, 0], [0, 0], [more, more]])
            x = self.relu(x + y)
        return self.classifier(self.pool(x))

    def take(self, relaxed):
        """Takes over the weights of the relaxed network, so that both compute the same."""
        operations = relaxed.network.graph.operations
        for unit in relaxed.units:
            chains = self.alternatives[unit.name]
            if unit.name in relaxed.mixtures:
                mixture = relaxed.mixtures[unit.name]
                self.alphas[unit.name].assign(mixture.alpha)
                for chain, given in zip(chains, relaxed.parts_of(unit).values(), strict=True):
                    for own, layer in zip(chain, given, strict=True):
                        own.set_weights(layer.get_weights())
            else:
                for own, layer in zip(chains[0], relaxed.names[unit.name].values(), strict=True):
                    own.set_weights(layer.get_weights())
        for name, norm in self.norms.items():
            norm.set_weights(operations[name].get_weights())
        self.classifier.set_weights(operations["classifier"].get_weights())


def _called(step):
    """Compiles a step, and waits for what it gives."""
    function = tf.function(step, autograph=False)  # as Keras compiles its own
    return lambda: [float(value) for value in tf.nest.flatten(function())]


def plain_step(model, batch):
    """A step of Keras' own `fit` of a model."""
    model.compile(optimizer(), cross_entropy)
    model.optimizer.build(model.trainable_variables)
    return _called(lambda: model.train_step(batch))


def darc_step(relaxed, batch):
    """A step of joint training as DARC takes it: mixed images, weight decay, and the guards around `fit`."""
    model = PenalizedModel(Mixup(relaxed.network.model, cross_entropy), [WeightDecay(DECAY)])
    Objective(loss=None, metric=None).compile(model, optimizer())
    model.optimizer.build(model.trainable_variables)
    return _called(lambda: model.train_step(batch))


def written_step(model, batch):
    """The same step written out."""
    x, y = batch
    variables, sgd = model.trainable_variables, optimizer()
    sgd.build(variables)
    alphas = {id(alpha) for alpha in model.alphas.values()}
    decayed = [variable for variable in variables if id(variable) not in alphas]

    def step():
        share = tf.random.uniform(())
        with tf.GradientTape() as tape:
            outputs = model(share * x + (1 - share) * tf.reverse(x, [0]), training=True)
            loss = share * cross_entropy(y, outputs) + (1 - share) * cross_entropy(tf.reverse(y, [0]), outputs)
            loss += 0.5 * DECAY * tf.add_n([tf.reduce_sum(tf.square(variable.value)) for variable in decayed])
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        sgd.apply(gradients, variables)
        return loss

    return _called(step)


def imitation_step(network, relaxed, batch):
    """A step of imitation as DARC takes it."""
    model = PenalizedModel(Imitation(network, relaxed.learners()))
    Objective(loss=None, metric=None).compile(model, keras.optimizers.Adam(0.01, beta_1=0.5, beta_2=0.999))
    model.optimizer.build(model.trainable_variables)
    return _called(lambda: model.train_step(batch))
