"""Networks whose blocks lie inside a long skip: all methods that make them shallower, and the same oracles."""

import dataclasses

import keras
import numpy as np
import small_tasks
import teachers
import tensorflow as tf
from keras import layers

from tfcompress.methods import KD, LIT, Hint, Scratch

SHORT = {"learning_rate": 0.01, "batch_size": 32}


def residual_chain(inputs, convolution, blocks=4):
    """A stem, and blocks with a skip around all of them."""
    stem = y = convolution(name="stem")(inputs)
    for i in range(blocks):
        z = layers.ReLU(name=f"b{i}_relu")(convolution(name=f"b{i}_conv")(y))
        y = layers.Add(name=f"b{i}")([y, z])
    return layers.Add(name="long")([stem, convolution(name="last")(y)])


def sequence_classifier():
    """The rows of small pictures as steps."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 1))
    y = residual_chain(layers.Reshape((8, 8))(x), lambda name: layers.Conv1D(6, 3, padding="same", name=name))
    y = layers.Dense(small_tasks.CLASSES, activation="softmax", name="head")(layers.GlobalAveragePooling1D()(y))
    model = keras.Model(x, y)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def super_resolution():
    """8 x 8 images to 16 x 16, as SRResNet does it."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 1))
    y = residual_chain(x, lambda name: layers.Conv2D(4, 3, padding="same", name=name))
    y = layers.UpSampling2D(name="up")(y)
    return keras.Model(x, layers.Conv2D(1, 3, padding="same", name="head")(y))


class LongSkipTest(tf.test.TestCase):
    def test_a_sequence_classifier_loses_blocks_and_learns(self):
        model = sequence_classifier()
        for method in (
            LIT(**SHORT, epochs=1, finetune_epochs=1),
            Hint(**SHORT, hint_epochs=1, epochs=0),
            KD(**SHORT, epochs=0),
            Scratch(**SHORT, epochs=0),
        ):
            with self.subTest(method.name):
                result, phases = teachers.observed(model, method, flops_budget=0.7)
                self.assertEqual(result.trail.last.removed, ("b2_conv", "b2_relu", "b2", "b3_conv", "b3_relu", "b3"))
                self.assertTrue(np.isfinite(result.model.predict(small_tasks.pictures(8)[0], verbose=0)).all())
                if method.name == "lit":
                    sections = phases[0]
                    moved = {path.split("/")[0] for path in sections.moved}
                    self.assertEqual(moved, {"b0_conv", "b1_conv"})
                    self.assertAllEqual(sections.before["last/kernel"], model.get_layer("last").kernel)

    def test_points_that_are_given(self):
        """Those between the blocks inside the skip, of a student of one's own too; none inside a block."""
        model, student = sequence_classifier(), sequence_classifier()
        method = LIT(**SHORT, epochs=0, finetune_epochs=0, split_points=("stem", "b1", "b3"))
        self.assertLen(teachers.compress(model, method, flops_budget=1.0).trail.last.removed, 0)
        method = dataclasses.replace(method, student=student, student_split_points=("stem", "b1", "b3"))
        self.assertEqual(teachers.compress(model, method, flops_budget=1.0).model.count_params(), model.count_params())
        with self.assertRaisesRegex(ValueError, "'b0_conv'.*which some path bypasses"):
            teachers.compress(model, LIT(**SHORT, split_points=("stem", "b0_conv")), flops_budget=1.0)

    def test_a_generator_learns_from_images_alone(self):
        model, images = super_resolution(), small_tasks.pictures(40)[0]
        method = LIT(**SHORT, epochs=1, finetune_epochs=1, beta=0.0, blocks=(1,))
        result, (sections, finetuning) = teachers.observed(model, method, (images, None))
        self.assertEqual(result.model.output_shape, (None, 16, 16, 1))
        self.assertEqual({path.split("/")[0] for path in sections.moved}, {"b0_conv"})
        self.assertContainsSubset({"stem/kernel", "last/kernel", "head/kernel"}, finetuning.moved)
        self.assertLen(result.trail.last.removed, 9)


if __name__ == "__main__":
    tf.test.main()
