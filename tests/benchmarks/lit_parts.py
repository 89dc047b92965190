"""A teacher, a student, and the unavoidable parts of a LIT step written out by hand, for benchmarks."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress import zoo
from tfcompress.graph import LayerGraph, find_sections
from tfcompress.methods.distillation.splitting import derived_points
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.training import Objective, PenalizedModel
from tfcompress.training.teaching import Distillation, Hints, KDLoss, SoftTargets, SplitModel, frozen

BATCH = 64

cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Pair:
    """ResNet-56 and its student ResNet-20, split at the ends of their sections, and a batch of random images."""

    def __init__(self, batch=BATCH):
        self.teacher = apply(zoo.resnet56(), Plan())
        sections = find_sections(LayerGraph.from_keras(self.teacher))
        self.student = apply(self.teacher, Plan.without(sections.removed((3, 3, 3))))
        points = sections.boundaries
        self.split_teacher = SplitModel(self.teacher, points)
        self.split = SplitModel(self.student, derived_points(self.teacher, points, self.student))
        rng = np.random.default_rng(0)
        self.x = tf.constant(rng.random((batch, 32, 32, 3), dtype="float32"))
        self.y = tf.constant(rng.integers(0, 10, batch))

    def held(self):
        """The frozen layers: stem and classifier."""
        return frozen([*self.split.layers["stem"], *self.split.layers["head"]])

    def distillation(self, beta):
        """LIT's first phase."""
        kd = KDLoss(self.student, self.teacher, SoftTargets(), cross_entropy) if beta else None
        hints = Hints(self.split, self.split_teacher, (1, 2, 3))
        return Distillation(self.student, self.teacher, outputs_loss=kd, hints=hints, beta=beta)

    def step(self, beta):
        """One step of it as `fit` runs it, compiled."""
        model = PenalizedModel(self.distillation(beta))
        Objective(loss=None, metric=None).compile(model, keras.optimizers.SGD(0.01, momentum=0.9))
        model.optimizer.build(model.trainable_variables)
        function = tf.function(lambda: model.train_step((self.x, self.y)))
        return lambda: [float(value) for value in function().values()]

    def parts(self, beta):
        """Teacher forward, and the student's training paths, each compiled alone; without an optimizer."""
        taps = self.split_teacher.taps((0, 1, 2, 3))
        forward = tf.function(lambda: taps(self.x, training=False))
        given, _ = forward()
        paths = [self.split.section(number) for number in (1, 2, 3)]
        variables = [variable.value for variable in self.student.trainable_variables]

        @tf.function
        def sections():
            with tf.GradientTape() as tape:
                pairs = [(given[i + 1], path(given[i], training=True)) for i, path in enumerate(paths)]
                loss = tf.add_n([tf.reduce_mean(tf.square(one - other)) for one, other in pairs])
            return tape.gradient(loss, variables)

        @tf.function
        def whole():
            with tf.GradientTape() as tape:
                loss = cross_entropy(self.y, self.student(self.x, training=True))
            return tape.gradient(loss, variables)

        return [forward, sections, *([whole] if beta else [])]

    def plain_step(self, beta):
        """Teacher, both training paths and their gradient in one function, written out."""
        taps = self.split_teacher.taps((0, 1, 2, 3))
        paths = [self.split.section(number) for number in (1, 2, 3)]
        variables = [variable.value for variable in self.student.trainable_variables]

        @tf.function
        def step():
            given, logits = taps(self.x, training=False)
            with tf.GradientTape() as tape:
                pairs = [(given[i + 1], path(given[i], training=True)) for i, path in enumerate(paths)]
                loss = tf.add_n([tf.reduce_mean(tf.square(one - other)) for one, other in pairs])
                if beta:
                    outputs = self.student(self.x, training=True)
                    soft = tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(logits / 6.0), outputs / 6.0)
                    loss = loss + cross_entropy(self.y, outputs) + tf.reduce_mean(soft)
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                if gradient is not None:
                    variable.assign_sub(1e-4 * gradient)
            return loss

        return lambda: float(step())
