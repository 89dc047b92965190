"""Which loss and metric are inferred, and that `evaluate` measures what numpy measures."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress import evaluation, training
from tfcompress.training.objectives import last_activation

INDICES = np.array([0, 2, 1, 2])
ONE_HOT = np.eye(3, dtype="float32")[INDICES]


def dense(units, *more, activation=None):
    return keras.Sequential([keras.Input((4,)), layers.Dense(units, activation=activation), *more])


class LossFunctionTest(tf.test.TestCase):
    def test_losses_in_every_form(self):
        """Probabilities (1/2, 1/4, 1/4) of the class 0 and then of the class 2: log 2 and log 4."""
        outputs = np.array([[0.5, 0.25, 0.25]] * 2, "float32")
        labels = np.array([0, 2])
        model = dense(3, activation="softmax")
        for loss in ("crossentropy", "sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy()):
            found = training.loss_function(model, training.Objective(loss, None))(labels, outputs)
            self.assertAllClose(found, (np.log(2) + np.log(4)) / 2, rtol=1e-6)

    def test_several_outputs_and_no_regularisation(self):
        x = keras.Input((4,))
        regular = layers.Dense(1, kernel_regularizer="l2", name="a")(x)
        model = keras.Model(x, [regular, layers.Dense(1, name="b")(x)])
        function = training.loss_function(model, training.Objective(["mse", "mae"], None))
        labels, outputs = [np.zeros((2, 1)), np.zeros((2, 1))], [np.array([[1.0], [3.0]]), np.array([[2.0], [-4.0]])]
        self.assertAllClose(function(labels, outputs), (1 + 9) / 2 + (2 + 4) / 2)

    def test_a_model_with_a_loss_of_its_own_has_no_function(self):
        self.assertIsNone(training.loss_function(dense(3), training.Objective(None, None)))


class InferTest(tf.test.TestCase):
    def check(self, model, y, loss, from_logits, metric, words=()):
        objective = training.infer(model, y)
        self.assertIsInstance(objective.loss, loss)
        self.assertEqual(objective.from_logits, from_logits)
        self.assertIsInstance(objective.metric(), metric)
        self.assertEqual(objective.name, objective.loss.name)
        if hasattr(objective.loss, "from_logits"):
            self.assertEqual(objective.loss.from_logits, from_logits)
        self.assertEqual(objective.higher_is_better, metric is not keras.metrics.MeanSquaredError)
        if objective.higher_is_better:
            self.assertEqual(objective.metric_name, "accuracy")
        for word in (objective.name, objective.metric_name, "inferred", *words):
            self.assertIn(word, objective.description)
        return objective

    def test_class_indices(self):
        loss, metric = keras.losses.SparseCategoricalCrossentropy, keras.metrics.SparseCategoricalAccuracy
        self.check(dense(3, activation="softmax"), INDICES, loss, False, metric, ["softmax", "3 outputs"])
        self.check(dense(3), INDICES.astype("uint8")[:, None], loss, True, metric, ["logits"])
        self.check(dense(3, layers.Softmax()), INDICES.astype("float32"), loss, False, metric)
        self.check(dense(3, layers.Activation("softmax")), INDICES, loss, False, metric)
        self.check(dense(3, activation="log_softmax"), INDICES, loss, True, metric)

    def test_one_hot_labels_and_probabilities(self):
        loss, metric = keras.losses.CategoricalCrossentropy, keras.metrics.CategoricalAccuracy
        self.check(dense(3, activation="softmax"), ONE_HOT, loss, False, metric, ["one-hot"])
        self.check(dense(3), ONE_HOT.astype(bool), loss, True, metric, ["one-hot", "logits"])
        self.check(dense(3, activation="softmax"), 0.8 * ONE_HOT + 0.2 / 3, loss, False, metric, ["probabilities"])

    def test_binary(self):
        loss, metric = keras.losses.BinaryCrossentropy, keras.metrics.BinaryAccuracy
        y = np.array([0, 1, 1, 0])
        sigmoid = self.check(dense(1, activation="sigmoid"), y, loss, False, metric)
        logits = self.check(dense(1), y[:, None].astype("float32"), loss, True, metric)
        # A logit of 0.3 is a probability of 0.57: a 1.
        for objective, right in ((sigmoid, 0.0), (logits, 1.0)):
            measured = objective.metric()
            measured.update_state([[1.0]], [[0.3]])
            self.assertAllEqual(measured.result(), right)
        self.check(dense(3, activation="sigmoid"), np.array([[1, 1, 0], [0, 0, 0]]), loss, False, metric, ["at once"])
        self.check(dense(3, activation="sigmoid"), ONE_HOT, loss, False, metric)

    def test_regression(self):
        loss, metric = keras.losses.MeanSquaredError, keras.metrics.MeanSquaredError
        self.check(dense(1), np.array([0.5, 2.0]), loss, False, metric, ["numbers"])
        self.check(dense(1), np.array([3, 7]), loss, False, metric)
        self.check(dense(3), np.array([[0.5, 2.0, -1.0]]), loss, False, metric)
        self.check(dense(1, activation="relu"), np.array([0, 1]), loss, False, metric)

    def test_an_index_for_every_pixel(self):
        model = keras.Sequential([keras.Input((2, 2, 1)), layers.Conv2D(3, 1)])
        y = np.array([[[0, 1], [2, 0]]])
        loss, metric = keras.losses.SparseCategoricalCrossentropy, keras.metrics.SparseCategoricalAccuracy
        self.check(model, y, loss, True, metric)
        self.check(model, y[..., None], loss, True, metric)

    def test_labels_that_do_not_fit_are_refused(self):
        for y in (np.array([0, 3]), np.array([-1, 0]), np.array([0.5, 1.0]), np.zeros((4, 5))):
            with self.assertRaisesRegex(ValueError, "Expected labels that fit the output .*Received: labels of shape"):
                training.infer(dense(3), y)

    def test_several_or_unknown_outputs_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Received: model .* with 0 known outputs"):
            training.infer(keras.Sequential([layers.Dense(3)]), INDICES)
        inputs = keras.Input((4,))
        model = keras.Model(inputs, [layers.Dense(1)(inputs), layers.Dense(2)(inputs)])
        with self.assertRaisesRegex(ValueError, "one output.* with 2 known outputs, not compiled, no objective"):
            training.infer(model, INDICES)

    def test_last_activation_through_nesting_and_what_changes_no_value(self):
        inputs = keras.Input((4,))
        nested = dense(3, layers.Dropout(0.5), layers.Reshape((3, 1)), activation="softmax")
        self.assertEqual(last_activation(keras.Model(inputs, layers.Flatten()(nested(inputs)))), "softmax")
        self.assertEqual(last_activation(keras.Model(inputs, keras.ops.softmax(inputs))), "softmax")
        self.assertEqual(last_activation(keras.Model(inputs, keras.ops.sigmoid(inputs))), "sigmoid")
        cast = layers.Activation("linear", dtype="float32")  # as mixed precision ends
        self.assertEqual(last_activation(dense(3, cast, activation="softmax")), "softmax")
        self.assertEqual(last_activation(dense(3, layers.Dense(2), activation="softmax")), "linear")
        self.assertEqual(last_activation(keras.Model(inputs, layers.Add()([inputs, inputs]))), "linear")


class CompiledTest(tf.test.TestCase):
    def test_loss_and_first_accuracy_are_taken(self):
        model = dense(3)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        top_2 = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_2_accuracy")
        model.compile("adam", loss, metrics=["mse", lambda y, p: p, top_2, "accuracy"])
        objective = training.infer(model, INDICES)
        self.assertIs(objective.loss, loss)
        self.assertTrue(objective.from_logits)
        self.assertEqual(objective.metric_name, "top_2_accuracy")
        self.assertEqual(objective.metric().k, 2)
        self.assertIsNot(objective.metric(), top_2)
        self.assertIn("compiled", objective.description)
        self.assertTrue(objective.higher_is_better)

    def test_accuracy_by_name_belongs_to_the_loss(self):
        model = dense(1)
        model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True), metrics=["acc"])
        objective = training.infer(model, np.array([0, 1]))
        self.assertEqual((objective.name, objective.metric().threshold), ("binary_crossentropy", 0.0))
        model = dense(3, activation="softmax")
        model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
        objective = training.infer(model, ONE_HOT)
        self.assertIsInstance(objective.metric(), keras.metrics.CategoricalAccuracy)
        self.assertFalse(objective.from_logits)

    def test_metric_by_full_name_and_metrics_by_output(self):
        model = dense(3, activation="softmax")
        model.compile(loss=["sparse_categorical_crossentropy"], metrics=[["sparse_categorical_accuracy"]])
        objective = training.infer(model, INDICES)
        self.assertEqual(objective.loss, "sparse_categorical_crossentropy")
        measured = objective.metric()
        measured.update_state(INDICES, ONE_HOT)
        self.assertAllEqual(measured.result(), 1.0)

    def test_no_metric_or_another_loss(self):
        model = dense(3, activation="softmax")
        model.compile(loss="sparse_categorical_crossentropy")
        self.assertIsInstance(training.infer(model, INDICES).metric(), keras.metrics.SparseCategoricalAccuracy)
        model.compile(loss="mse")  # of a classifier, as in old examples
        self.assertIsInstance(training.infer(model, ONE_HOT).metric(), keras.metrics.CategoricalAccuracy)
        model = dense(2)
        model.compile(loss="mae")
        objective = training.infer(model, np.array([[0.5, 2.5]]))
        self.assertEqual((objective.name, objective.higher_is_better), ("mean_absolute_error", False))

    def test_a_loaded_model_has_what_it_was_compiled_with(self):
        model = dense(3)
        model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        path = self.get_temp_dir() + "/m.keras"
        model.save(path)
        objective = training.infer(keras.saving.load_model(path), ONE_HOT)
        self.assertTrue(objective.from_logits)
        self.assertIsInstance(objective.metric(), keras.metrics.CategoricalAccuracy)


def own_loss(y, outputs):
    return keras.ops.mean(keras.ops.cast(y, outputs.dtype) - outputs)


class RuleTest(tf.test.TestCase):
    """The table of docs/objective.md: loss, labels and outputs decide the metric; the description says why."""

    def check(self, model, loss, y, metric, higher, *words, metrics=None, threshold=None):
        model.compile("sgd", loss, metrics=metrics)
        objective = training.infer(model, y)
        self.assertEqual((objective.metric_name, objective.higher_is_better), (metric, higher), objective.description)
        for word in words:
            self.assertIn(word, objective.description)
        if threshold is not None:
            self.assertEqual(objective.metric().threshold, threshold)
        return objective

    def test_binary_crossentropy_of_labels_that_are_not_0_or_1(self):
        y = np.array([[0.2, 0.9, 1.0]])
        for metrics in (None, ["accuracy"], ["binary_accuracy"]):
            words = ("the metric is the loss itself", "not all 0 or 1", "pass objective=")
            objective = self.check(dense(3, activation="sigmoid"), "bce", y, "loss", False, *words, metrics=metrics)
            self.assertIsNone(objective.new_metrics())
        self.assertIn("metric binary_accuracy is not used", objective.description)

    def test_several_labels_at_once_or_one_hot(self):
        y, loss = np.array([[1, 1, 0], [0, 0, 0]]), "binary_crossentropy"
        words = "compares each of several labels 0 and 1 at once"
        self.check(
            dense(3, activation="sigmoid"), loss, y, "accuracy", True, words, metrics=["accuracy"], threshold=0.5
        )
        asked = self.check(dense(3, activation="sigmoid"), loss, ONE_HOT, "accuracy", True, metrics=["accuracy"])
        self.assertIsInstance(asked.metric(), keras.metrics.CategoricalAccuracy)
        self.check(dense(3, activation="sigmoid"), loss, ONE_HOT, "accuracy", True, threshold=0.5)

    def test_regressions_have_the_error_of_their_loss_and_no_accuracy(self):
        y = np.array([[0.5, 2.5]])
        for loss, metric in (("mae", "mean_absolute_error"), ("mape", "mean_absolute_percentage_error")):
            self.check(dense(2), loss, y, metric, False)
        words = "metric accuracy is not used: the labels are numbers"
        self.check(dense(2), keras.losses.Huber(), y, "mean_squared_error", False, words, metrics=["accuracy"])
        self.check(dense(1), "mse", np.array([0, 1]), "mean_squared_error", False)  # numbers, as nothing says otherwise
        self.check(dense(1), "mse", np.array([0, 1]), "accuracy", True, metrics=["accuracy"], threshold=0.5)

    def test_losses_that_know_no_classes(self):
        for loss in ("poisson", "kl_divergence", "cosine_similarity", keras.losses.CTC(), keras.losses.Circle()):
            self.check(dense(3, activation="softmax"), loss, np.array([0, 1]), "loss", False, "pass objective=")

    def test_hinge(self):
        self.check(
            dense(1), "hinge", np.array([-1, 1]), "loss", False, "does not fit a hinge loss", metrics=["accuracy"]
        )
        self.check(dense(1), "hinge", np.array([0, 1]), "accuracy", True, "above 0", metrics=["acc"], threshold=0.0)

    def test_a_loss_of_ones_own_is_no_classifiers_unless_the_outputs_or_the_metrics_say_so(self):
        for labels in (INDICES, np.array([0, 39])):  # a few identities could be classes of an embedding of 3 numbers
            self.check(dense(3), own_loss, labels, "loss", False, "does not say that the labels are classes")
        self.check(dense(3), own_loss, INDICES, "accuracy", True, metrics=["accuracy"])
        self.check(dense(3, activation="softmax"), own_loss, INDICES, "accuracy", True)
        two = self.check(dense(3), ["mse", "mae"], np.zeros((2, 3)), "loss", False)
        self.assertEqual((two.name, two.loss), ("mse + mae", ["mse", "mae"]))

    def test_further_metrics(self):
        binary = dense(1, activation="sigmoid")
        self.check(binary, "bce", np.array([0, 1]), "auc", True, metrics=[keras.metrics.AUC(name="auc"), "mae"])
        self.check(dense(2), "mse", np.zeros((2, 2)), "mae", False, "less is better", metrics=[own_loss, "mae"])
        words = (
            "own_loss is measured only, because it is not known whether more of it is better",
            "pass objective=",
        )
        self.check(dense(2), "mse", np.zeros((2, 2)), "mean_squared_error", False, *words, metrics=[own_loss])

    def test_what_is_not_chosen_by_is_measured_too(self):
        """All that fit the labels, each name once."""
        binary, auc = dense(1, activation="sigmoid"), keras.metrics.AUC(name="auc")
        metrics = ["mae", "accuracy", auc, own_loss, "mae", keras.metrics.Accuracy(name="exact")]
        objective = self.check(binary, "bce", np.array([0, 1]), "accuracy", True, metrics=metrics)
        names = [metric.name for metric in objective.new_metrics()]
        self.assertEqual(names, ["accuracy", "mae", "auc", "own_loss"])

    def test_a_metric_to_choose_by(self):
        binary, y = dense(1, activation="sigmoid"), np.array([[0], [1]])
        binary.compile("sgd", "bce", metrics=["accuracy", "mae", keras.metrics.AUC(name="auc"), own_loss])
        for monitor, name, higher in (
            ("val_auc", "auc", True),
            ("mae", "mae", False),
            ("acc", "accuracy", True),
            ("loss", "loss", False),
        ):
            objective = training.infer(binary, y, monitor=monitor)
            self.assertEqual((objective.metric_name, objective.higher_is_better), (name, higher))
            further = [make().name for make in objective.further]
            self.assertEqual(further, [each for each in ("accuracy", "mae", "auc", "own_loss") if each != name])
        with self.assertRaisesRegex(
            ValueError, r"of 'accuracy', 'mae', 'auc', 'own_loss', 'loss'. Received: monitor='f1'"
        ):
            training.infer(binary, y, monitor="f1")
        with self.assertRaisesRegex(ValueError, "monitor='own_loss', for which it is not known"):
            training.infer(binary, y, monitor="own_loss")
        uncompiled = dense(3, activation="softmax")
        self.assertEqual(training.infer(uncompiled, INDICES, monitor="val_loss").metric_name, "loss")
        self.assertEqual(training.infer(uncompiled, INDICES, monitor="accuracy").metric_name, "accuracy")
        with self.assertRaisesRegex(ValueError, "monitor='auc'.*compile it with the metric"):
            training.infer(uncompiled, INDICES, monitor="auc")

    def test_an_accuracy_that_gives_some_number_for_labels_of_another_form(self):
        sparse, softmax = "sparse_categorical_crossentropy", dense(3, activation="softmax")
        cases = (
            ("categorical_accuracy", sparse, INDICES),
            ("sparse_categorical_accuracy", "categorical_crossentropy", ONE_HOT),
            ("binary_accuracy", sparse, INDICES),
            (keras.metrics.Accuracy(name="exact"), sparse, INDICES),
        )
        for metric, loss, y in cases:
            self.check(softmax, loss, y, "accuracy", True, "is not used, because it compares", metrics=[metric])

    def test_weights_of_losses_stay(self):
        model = dense(1)
        model.compile("sgd", ["mse"], loss_weights=[3.0])
        self.assertEqual(training.infer(model, np.zeros((2, 1))).loss_weights, [3.0])


class CheckedTest(tf.test.TestCase):
    """Found out without a step: no model is run."""

    def refused(self, words, model, objective, y):
        with self.assertRaisesRegex(ValueError, words):
            evaluation.check_objective(model, objective, y)

    def test_losses_and_metrics_that_cannot_be_worked_out(self):
        model = dense(3)

        def scalar(y, outputs):
            return keras.ops.mean(y + outputs)

        self.refused(
            r"the loss scalar can compare .*\[\[None, 3\]\].*\[None, 2\] float32",
            model,
            training.Objective(scalar, None, name="scalar"),
            np.zeros((4, 2), "float32"),
        )
        maker = lambda: keras.metrics.MeanMetricWrapper(scalar, name="odd")  # noqa: E731
        self.refused(
            "the metric odd can compare.*objective=", model, training.Objective("mse", maker), np.zeros((4, 3))
        )

    def test_the_loss_itself_may_be_given_as_the_metric(self):
        objective = training.Objective("mse", "loss", higher_is_better=False)
        evaluation.check_objective(dense(3), objective, np.zeros((4, 3)))
        self.assertEqual((objective.metric_name, objective.new_metrics(), objective.sign), ("loss", None, -1))

    def test_a_metric_of_the_other_direction(self):
        objective = training.Objective("mse", keras.metrics.MeanAbsoluteError)
        self.refused("`higher_is_better` .*to be False.*mean_absolute_error", dense(3), objective, np.zeros((4, 3)))

    def test_a_metric_for_several_outputs(self):
        x = keras.Input((4,))
        model = keras.Model(x, [layers.Dense(1)(x), layers.Dense(1)(x)])
        objective = training.Objective("mse", keras.metrics.AUC)
        self.refused("with `score=` for a model of several outputs", model, objective, [np.zeros((4, 1))] * 2)


class EvaluateTest(tf.test.TestCase):
    def test_equals_numpy_and_leaves_the_model_alone(self):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(11, 4)).astype("float32"), rng.integers(0, 3, 11)
        model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(3, kernel_regularizer=keras.regularizers.L2(1.0)),
                layers.BatchNormalization(),
                layers.Dropout(0.5),
            ]
        )
        model.compile("adam", "mse", metrics=["mae"])
        optimizer, config, before = model.optimizer, model.get_compile_config(), training.model_state(model)
        kernel, bias = (keras.ops.convert_to_numpy(w) for w in model.layers[0].weights)
        logits = (x @ kernel + bias) / np.sqrt(1 + 1e-3)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

        objective = training.infer(keras.Model(model.inputs, model.outputs), y)
        results = evaluation.evaluate(model, tf.data.Dataset.from_tensor_slices((x, y)).batch(4), objective)
        self.assertEqual(set(results), {"loss", "accuracy"})
        self.assertAllClose(results["loss"], -log_p[np.arange(11), y].mean(), rtol=1e-5)
        self.assertAllClose(results["accuracy"], (logits.argmax(axis=1) == y).mean())
        self.assertIs(model.optimizer, optimizer)
        self.assertEqual(model.get_compile_config(), config)
        for name, tensor in training.model_state(model).items():
            self.assertAllEqual(tensor, before[name])

    def test_an_evaluator_sees_new_weights_without_a_new_trace(self):
        traces = []

        class Traced(layers.Layer):
            def call(self, x):
                traces.append(1)
                return x

        model = dense(1, Traced())
        data = tf.data.Dataset.from_tensors((np.ones((1, 4), "float32"), np.zeros((1, 1), "float32")))
        evaluator = evaluation.Evaluator(model, training.Objective("mse", keras.metrics.MeanAbsoluteError))
        traces.clear()
        for weight in (1.0, 2.0):
            model.set_weights([np.full((4, 1), weight, "float32"), np.zeros(1, "float32")])
            self.assertEqual(evaluator(data), {"loss": (4 * weight) ** 2, "mean_absolute_error": 4 * weight})
        self.assertLen(traces, 1)
