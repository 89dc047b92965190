"""Training: data, schedule, callbacks, history, divergence."""

import io
import pathlib
import random
import tempfile

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress import training
from tfcompress.data.batches.epochs import ArrayBatches

OBJECTIVE = training.Objective(keras.losses.SparseCategoricalCrossentropy(from_logits=True), None)


def data(samples=20, batch_size=8, shuffle=True):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(samples, 4)).astype("float32"), rng.integers(0, 3, samples)
    return ArrayBatches(x, y, batch_size, shuffle=shuffle, seed=5)


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)])


def sgd(rate=0.1):
    return keras.optimizers.SGD(rate, momentum=0.9)


class Seen(keras.callbacks.Callback):
    """Adds to the logs, and notes rates and the order of calls."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch, logs=None):
        if epoch:
            logs["reward"] = np.float32(0.5 * epoch)  # as a metric computed by numpy would be


class Recording(ArrayBatches):
    """Notes for each batch that is asked for: epoch, index, and the samples."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.asked = []

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        self.asked.append((self.epoch, index, tuple(x[:, 0])))
        return x, y


class FitTest(tf.test.TestCase):
    def test_equals_plain_keras_fit(self):
        model, plain = network(), network()
        batches = data(shuffle=False)
        plain.compile(sgd(), OBJECTIVE.loss, metrics=["accuracy"])
        expected = plain.fit(batches, epochs=2, validation_data=batches, shuffle=False, verbose=0).history
        objective = training.Objective(OBJECTIVE.loss, lambda: keras.metrics.SparseCategoricalAccuracy("accuracy"))
        history = training.fit(model, batches, objective, optimizer=sgd(), epochs=2, validation=batches)
        for weight, other in zip(model.get_weights(), plain.get_weights(), strict=True):
            self.assertAllClose(weight, other, rtol=1e-6)
        self.assertEqual(set(history), {*expected, "learning_rate"})
        for name, values in expected.items():
            self.assertAllClose(history[name], values, rtol=1e-6)
        self.assertFalse(model.compiled)

    def test_the_batches_are_those_of_their_epoch_in_order(self):
        x = np.arange(40, dtype="float32").reshape(10, 4)
        train = Recording(x, np.zeros(10, int), 4, shuffle=True, seed=5)
        expected = []
        for epoch in range(3):
            order = np.random.default_rng([5, epoch]).permutation(10)
            expected += [(epoch, i, tuple(x[order[4 * i : 4 * i + 4], 0])) for i in range(3)]
        random.seed(0)
        training.fit(network(), train, OBJECTIVE, optimizer=sgd(), epochs=3)
        # Keras looks at the first batches for their shapes before it trains.
        self.assertEqual(train.asked[-9:], expected)
        self.assertLessEqual(len(train.asked), 9 + 3)

    def test_schedule_callbacks_and_history(self):
        seen = Seen()
        schedule = training.StepDecay(0.5, (1, 2), factor=0.5)
        history = training.fit(
            network(), data(), OBJECTIVE, optimizer=sgd(9.0), epochs=3, schedule=schedule, callbacks=[seen]
        )
        self.assertEqual(seen.rates, [0.5, 0.25, 0.125])
        self.assertEqual(history["learning_rate"], [0.5, 0.25, 0.125])
        self.assertEqual(history["reward"], [None, 0.5, 1.0])
        self.assertLen(history["loss"], 3)

    def test_no_epochs_and_bad_arguments(self):
        model = network()
        before = model.get_weights()
        self.assertEqual(training.fit(model, data(), OBJECTIVE, optimizer=sgd(), epochs=0), {})
        self.assertAllEqual(model.get_weights()[0], before[0])
        with self.assertRaisesRegex(ValueError, "built keras.Model"):
            training.fit(keras.Sequential([layers.Dense(2)]), data(), OBJECTIVE, optimizer=sgd(), epochs=1)
        for epochs in (-1, 1.5):
            with self.assertRaisesRegex(ValueError, f"epochs={epochs}"):
                training.fit(model, data(), OBJECTIVE, optimizer=sgd(), epochs=epochs)

    def test_float16_policy_scales_the_loss_of_the_model_as_keras_does(self):
        inputs = keras.Input((4,))
        with_policy = keras.Model(inputs, layers.Dense(3, dtype="mixed_float16")(inputs))
        with_policy.dtype_policy = keras.DTypePolicy("mixed_float16")
        kinds = []
        note = keras.callbacks.LambdaCallback(on_train_end=lambda logs: kinds.append(type(note.model.optimizer)))
        history = training.fit(
            with_policy,
            data(),
            OBJECTIVE,
            optimizer=sgd(),
            epochs=1,
            schedule=training.Constant(0.25),
            callbacks=[note],
        )
        self.assertEqual(kinds, [keras.optimizers.LossScaleOptimizer])
        self.assertEqual(history["learning_rate"], [0.25])

    def test_progress_speaks_first_and_shows_what_callbacks_add(self):
        stream = io.StringIO()
        phase = training.Phase("fine-tuning", progress=training.Progress(2, stream))
        training.fit(
            network(),
            data(),
            OBJECTIVE,
            optimizer=sgd(),
            epochs=2,
            validation=data(),
            penalties=[training.WeightDecay(0.1)],
            callbacks=[Seen()],
            phase=phase,
        )
        lines = stream.getvalue().splitlines()
        self.assertStartsWith(lines[0], "fine-tuning: epoch 1 of 2, preparing")
        self.assertStartsWith(lines[1], "about ")
        self.assertRegex(lines[2], r"^fine-tuning  epoch 1/2  left \S+ s  loss \S+  val_loss \S+ \(best\)  ")
        self.assertRegex(lines[3], r"epoch 2/2  left 0.0 s  loss \S+  val_loss \S+( \(best\))?  reward 0.5000  ")
        self.assertNotIn("weight_decay", lines[3])

    def test_tensorboard_has_every_epoch_on_disk_when_it_ends(self):
        path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        seen = {}  # by epoch, what was on disk when the next one began

        def look(epoch, logs):
            seen[epoch - 1] = self.events(path / "tensorboard" / "joint" / "train")

        with training.open_run(path, {}) as run:
            training.fit(
                network(),
                data(),
                OBJECTIVE,
                optimizer=sgd(),
                epochs=3,
                callbacks=[Seen(), keras.callbacks.LambdaCallback(on_epoch_begin=look)],
                phase=training.Phase("joint", run),
            )
        self.assertEqual(set(seen[0]["epoch_loss"]), {0})
        self.assertEqual(set(seen[1]["epoch_loss"]), {0, 1})
        self.assertEqual(seen[1]["epoch_reward"], {1: 0.5})

    def events(self, folder):
        """`{tag: {step: value}}` of the event files in a folder."""
        found = {}
        for file in folder.glob("events.*"):
            for record in tf.data.TFRecordDataset(str(file)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                for value in event.summary.value:
                    found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
        return found


class HooksTest(tf.test.TestCase):
    def test_no_callback_makes_keras_wait_for_every_step(self):
        # Keras computes and converts the metrics after each step where a callback has one of these hooks.
        from tfcompress.training import callbacks, tensorboard

        for kind in (*map(callbacks.__dict__.get, callbacks.__all__[:-1]), tensorboard.EpochScalars):
            for hook in ("on_batch_end", "on_train_batch_end", "on_test_batch_end"):
                self.assertIs(getattr(kind, hook), getattr(keras.callbacks.Callback, hook), (kind, hook))


class Spoiler(keras.callbacks.Callback):
    """Makes a weight NaN before step `step` of epoch `epoch`."""

    def __init__(self, epoch, step):
        super().__init__()
        self.at, self.epoch = (epoch, step), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            self.model.inner.layers[-1].bias.assign([np.nan, 0.0, 0.0])


class Remember(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.inner.get_weights())


class DivergenceTest(tf.test.TestCase):
    def diverge(self, model, callbacks, phase=None, train=None, **settings):
        with self.assertRaises(training.TrainingDiverged) as caught:
            training.fit(
                model,
                train or data(),
                OBJECTIVE,
                optimizer=settings.pop("optimizer", sgd()),
                epochs=4,
                callbacks=callbacks,
                phase=phase,
                **settings,
            )
        return caught.exception

    def test_nan_loss_stops_and_leaves_the_last_good_epoch(self):
        model, remember = network(), Remember()
        error = self.diverge(model, [remember, Spoiler(2, 1)])
        self.assertEqual((error.phase, error.epoch, error.step), ("training", 3, 2))
        self.assertRegex(
            str(error), r"step 2 of epoch 3. The weights after epoch 2 are in the model again\. Try a lower"
        )
        self.assertLen(remember.weights, 2)
        for weight, good in zip(model.get_weights(), remember.weights[1], strict=True):
            self.assertAllEqual(weight, good)

    def test_in_the_first_epoch_the_weights_are_those_from_before(self):
        model = network()
        before = model.get_weights()
        error = self.diverge(model, [Spoiler(0, 2)])
        self.assertEqual((error.epoch, error.step), (1, 3))
        self.assertIn("The initial weights", str(error))
        for weight, good in zip(model.get_weights(), before, strict=True):
            self.assertAllEqual(weight, good)

    def test_a_last_update_to_infinity_is_noticed_though_no_loss_saw_it(self):
        model = network()
        huge = np.full((8, 4), 1e20, "float32")
        train = ArrayBatches(huge, np.zeros(8, int), 8)
        error = self.diverge(model, [], train=train, optimizer=sgd(1e30))
        self.assertEqual((error.epoch, error.step), (1, None))
        self.assertTrue(all(np.isfinite(weight).all() for weight in model.get_weights()))

    def test_a_penalty_that_diverges_counts(self):
        class Infinite:
            name = "infinite"

            def build(self, model):
                pass

            def __call__(self):
                return keras.ops.convert_to_tensor(np.inf, "float32")

        self.assertEqual(self.diverge(network(), [], penalties=[Infinite()]).step, 1)

    def test_the_checkpoint_before_is_kept_and_named(self):
        path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        with training.open_run(path, {}) as run:
            model = network()
            error = self.diverge(model, [Spoiler(2, 0)], training.Phase("joint", run))
            self.assertIn(f"its checkpoint is in {path / 'checkpoints' / 'joint'}.", str(error))
            last = run.checkpoints("joint").latest()
            self.assertEqual(last.epoch, 2)
            self.assertAllEqual(last.tensors["model/0"], model.get_weights()[0])

    def test_a_long_epoch_is_stopped_before_its_end(self):
        from tfcompress.training.callbacks import Guard

        times = iter(range(1000))  # each look at the clock is a second later
        guard = Guard("joint", lambda: "", clock=lambda: next(times))
        wrapped = training.PenalizedModel(network())
        wrapped.compile(sgd(), OBJECTIVE.loss)
        steps = []
        count = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: steps.append(batch))
        with self.assertRaisesRegex(training.TrainingDiverged, "step 3 of epoch 1"):
            wrapped.fit(data(200), verbose=0, shuffle=False, callbacks=[count, Spoiler(0, 2), guard])
        self.assertEqual(steps, [0, 1, 2, 3])
