"""Models of which accuracy does not say how good they are: several outputs and losses, and `objective=`."""

import pathlib
import tempfile

import keras
import numpy as np
import pytest
import segmentation
import tensorflow as tf
from keras import layers, ops

import tfcompress
from tfcompress import Objective
from tfcompress.methods import RLAL, Random, Uniform
from tfcompress.methods.rlal import AgentSettings


def labels(count, seed):
    x, masks, digits = segmentation.scenes(count, seed)
    return x, {"mask": masks, "digit": digits}


def overlap_in_numpy(model, x, y):
    truth, found = y["mask"][..., 0].astype(bool), np.asarray(model.predict(x, verbose=0)["mask"])[..., 0] > 0.5
    return np.mean([(t & f).sum() / max((t | f).sum(), 1) for t, f in zip(truth, found, strict=True)])


class SegmentationTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = segmentation.trained_network()
        cls.train, cls.validation, cls.test = labels(96, 2), labels(64, 3), labels(64, 4)

    def compress(self, method, **settings):
        given = {"flops_budget": 0.5, "objective": segmentation.overlap, "verbose": 0} | settings
        return tfcompress.compress(
            self.model, method, self.train, validation_data=self.validation, test_data=self.test, **given
        )

    def check(self, result):
        self.assertEqual(result.metric, "overlap")
        self.assertLessEqual(result.after.macs, 0.5 * result.before.macs)
        self.assertAllClose(result.before.accuracy, overlap_in_numpy(self.model, *self.test), atol=1e-5)
        self.assertAllClose(result.after.accuracy, overlap_in_numpy(result.model, *self.test), atol=1e-5)
        self.assertAllClose(
            result.after.validation_accuracy, overlap_in_numpy(result.model, *self.validation), atol=1e-5
        )

    def test_the_network_has_learned(self):
        self.assertGreater(overlap_in_numpy(self.model, *self.test), 0.5)

    def test_uniform(self):
        result = self.compress(Uniform(epochs=2, batch_size=32, criterion="taylor"))
        self.check(result)
        self.assertLess(result.history["recover"]["loss"][-1], result.history["recover"]["loss"][0])
        self.assertIn("overlap", result.history["recover"])
        self.assertIn("sparse_categorical_crossentropy + binary_crossentropy", " ".join(result.notes))
        self.assertEqual(result.model.loss["mask"], "binary_crossentropy")
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.get_temp_dir()))
        report = result.export(folder, ("keras", "tflite"))
        self.assertLen(report.files, 2)
        result.save(folder / "saved")
        loaded = tfcompress.Result.load(folder / "saved")
        self.assertAllClose(
            loaded.model.predict(self.test[0], verbose=0)["mask"], result.model.predict(self.test[0], verbose=0)["mask"]
        )

    @pytest.mark.slow
    def test_the_agents_reward_is_the_objective(self):
        method = RLAL(
            epochs=4,
            finetune_epochs=1,
            joint=True,
            schedule="step",
            reference_epochs=4,
            milestones=(2, 3),
            agent_epochs=(0, 1, 3),
            episodes_per_epoch=2,
            batch_size=32,
            reward_images=64,
            agent=AgentSettings(hidden=(8,), batch_size=8, updates_per_epoch=2),
        )
        result = self.compress(method, flops_budget=0.7)
        self.assertTrue(any("warm start" in note for note in result.notes), result.notes)
        self.assertLessEqual(result.after.macs, 0.7 * result.before.macs)
        self.assertBetween(max(r for r in result.history["search"]["reward"] if r is not None), 0.01, 1)
        best = self.compress(Random(epochs=0, tries=2, recalibrate_batches=0), flops_budget=0.7)
        cut = tfcompress.rewrite.apply(self.model, best.trail.last)
        self.assertAllClose(best.candidates[0].score, overlap_in_numpy(cut, *self.validation), atol=1e-5)

    def test_sensitivity(self):
        measured = tfcompress.sensitivity(
            self.model, self.train, validation_data=self.validation, objective=segmentation.overlap, verbose=0
        )
        self.assertEqual(measured.metric, "overlap")
        self.assertAllClose(measured.baseline, overlap_in_numpy(self.model, *self.validation), atol=1e-5)

    def test_a_list_of_outputs_and_weights_of_losses(self):
        """The loss is 1.0 of the first and 0.0 of the second: as if the second were not there."""
        x = keras.Input((4,))
        y = layers.Dense(6, activation="relu", name="hidden")(x)
        model = keras.Model(x, [layers.Dense(2, name="a")(y), layers.Dense(3, name="b")(y)])
        rng = np.random.default_rng(0)
        data = rng.normal(size=(64, 4)).astype("float32"), (rng.normal(size=(64, 2)), rng.normal(size=(64, 3)))

        def nearness(y, outputs):
            return -ops.mean(ops.square(y[0] - outputs[0]), axis=1) - 2 * ops.mean(ops.abs(y[1] - outputs[1]), axis=1)

        model.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 0.0])
        method = Uniform(epochs=1, weight_decay=0, learning_rate=1e-9)
        result = tfcompress.compress(
            model, method, data, validation_data=data, params_budget=0.7, objective=nearness, verbose=0
        )
        a, b = (np.asarray(output) for output in result.model.predict(data[0], verbose=0))
        first, second = np.square(a - data[1][0]).mean(), np.abs(b - data[1][1]).mean()
        self.assertAllClose(result.history["recover"]["val_loss"][-1], first, rtol=1e-4)
        self.assertAllClose(result.after.validation_accuracy, -first - 2 * second, rtol=1e-4)

    def test_an_objective_with_losses_for_a_model_that_is_not_compiled(self):
        x = keras.Input((segmentation.SIZE, segmentation.SIZE, 1))
        y = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
        mask = layers.Conv2D(1, 1, activation="sigmoid")(y)
        digit = layers.Dense(10, activation="softmax")(layers.GlobalMaxPooling2D()(y))
        model = keras.Model(x, {"mask": mask, "digit": digit})
        losses = {"mask": keras.losses.Dice(), "digit": "sparse_categorical_crossentropy"}
        objective = Objective(losses, None, score=segmentation.overlap)
        result = tfcompress.compress(
            model, Uniform(epochs=1), self.train, flops_budget=0.6, objective=objective, verbose=0
        )
        self.assertEqual(result.metric, "overlap")


class RefusedTest(tf.test.TestCase):
    def compress(self, model=None, objective=None):
        model = model or segmentation.trained_network()
        tfcompress.compress(model, Uniform(epochs=0), labels(32, 2), flops_budget=0.5, objective=objective, verbose=0)

    def test_several_outputs_without_an_objective(self):
        with self.assertRaisesRegex(
            ValueError, r"with 2 known outputs, compiled, no objective.*objective\(y, outputs\)"
        ):
            self.compress()
        with self.assertRaisesRegex(ValueError, "with 2 known outputs, not compiled, an objective"):
            self.compress(segmentation.network(), segmentation.overlap)

    def test_objectives_that_give_no_number_a_sample(self):
        bad = {
            "one number for all": lambda y, outputs: ops.mean(segmentation.overlap(y, outputs)),
            "a map": lambda y, outputs: ops.cast(outputs["mask"], "float32"),
            "not finite": lambda y, outputs: segmentation.overlap(y, outputs) * float("nan"),
        }
        for name, objective in bad.items():
            with self.subTest(name), self.assertRaisesRegex(ValueError, "one finite number for each of"):
                self.compress(objective=objective)


class MapsOfClassesTest(tf.test.TestCase):
    def test_one_output_needs_no_objective(self):
        """Pixels in classes: accuracy is that of all pixels, chance the share of the most frequent class."""
        x, masks, _ = segmentation.scenes(48)
        inputs = keras.Input((segmentation.SIZE, segmentation.SIZE, 1))
        y = layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
        model = keras.Model(inputs, layers.Conv2D(2, 1)(y))
        result = tfcompress.compress(
            model,
            Random(epochs=1, tries=2),
            (x, masks[..., 0]),
            validation_data=(x, masks[..., 0]),
            flops_budget=0.6,
            verbose=0,
        )
        found = np.argmax(result.model.predict(x, verbose=0), axis=-1)
        self.assertAllClose(result.after.validation_accuracy, np.mean(found == masks[..., 0]), atol=1e-5)


if __name__ == "__main__":
    tf.test.main()
