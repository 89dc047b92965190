"""Equation (1) of LIT as a Keras model: what is fed to what, what is trained, and whose statistics move."""

import contextlib

import keras
import numpy as np
import small_tasks
import teachers
import tensorflow as tf
from keras import layers

from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.training.teaching import (
    Distillation,
    Hints,
    KDLoss,
    OutputLoss,
    SoftTargets,
    SplitModel,
    frozen,
)

X, Y = small_tasks.pictures(8, seed=3)
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def hints_of(student, teacher, sections=(1, 2), points=None, **settings):
    points = points or [
        ("stem_relu", f"section1_block{a}_relu", f"section2_block{b}_relu") for a, b in ((1, 1), (2, 2))
    ]
    return Hints(SplitModel(student, points[0]), SplitModel(teacher, points[1]), sections, **settings)


def pair(head_norm=False):
    """A student with half the blocks, the teacher, both with other weights and statistics than fresh ones."""
    student = teachers.classifier(blocks=(1, 1), seed=1, head_norm=head_norm)
    teacher = teachers.classifier(blocks=(2, 2), seed=2, head_norm=head_norm)
    for model in (student, teacher):
        model(small_tasks.pictures(16, seed=7)[0], training=True)  # statistics
    return student, teacher


def kd(student, teacher, alpha=0.3, tau=2.0):
    return KDLoss(student, teacher, SoftTargets(alpha, tau), CROSS_ENTROPY)


def loss_of(model, x=X, y=Y, training=True):
    return float(model.compute_loss(x=x, y=y, y_pred=model(x, training=training), training=training))


class LinearTest(tf.test.TestCase):
    """Two sections of one Dense layer each: everything in numpy."""

    @staticmethod
    def network(seed):
        keras.utils.set_random_seed(seed)
        x = inputs = keras.Input((2,), name="x")
        for name in ("stem", "section1", "section2"):
            x = layers.Dense(2, name=name, bias_initializer="normal")(x)
        return keras.Model(inputs, layers.Dense(2, name="head")(x))

    def setUp(self):
        super().setUp()
        self.student, self.teacher = self.network(1), self.network(2)
        self.x, self.y = np.array([[1.0, -1.0], [0.5, 2.0]], "float32"), np.array([0, 1])
        self.points = [("stem", "section1", "section2")] * 2

    @staticmethod
    def run_numpy(model, x, *names):
        for name in names:
            layer = model.get_layer(name)
            x = x @ layer.kernel.numpy() + layer.bias.numpy()
        return x

    def l_kd(self, alpha, tau):
        names = ("stem", "section1", "section2", "head")
        student, teacher = (self.run_numpy(model, self.x, *names) for model in (self.student, self.teacher))

        def log_softmax(z):
            return z - np.log(np.exp(z).sum(-1, keepdims=True))

        hard = -log_softmax(student)[[0, 1], self.y].mean()
        soft = -(np.exp(log_softmax(teacher / tau)) * log_softmax(student / tau)).sum(-1).mean()
        return alpha * hard + (1 - alpha) * tau**2 * soft

    def l_i(self, feeds, sections=(1, 2), power=2):
        """`feeds[i]` is what section i + 1 reads."""
        given = {1: ("stem", "section1"), 2: ("stem", "section1", "section2")}
        total = 0.0
        for number in sections:
            own = self.run_numpy(self.student, feeds[number - 1], f"section{number}")
            total += (np.abs(own - self.run_numpy(self.teacher, self.x, *given[number])) ** power).mean()
        return total

    @property
    def teacher_fed(self):
        return [self.run_numpy(self.teacher, self.x, "stem"), self.run_numpy(self.teacher, self.x, "stem", "section1")]

    def model(self, beta, sections=(1, 2), **settings):
        hints = hints_of(self.student, self.teacher, sections, self.points, **settings)
        return Distillation(
            self.student, self.teacher, outputs_loss=kd(self.student, self.teacher), hints=hints, beta=beta
        )

    def test_their_sum_by_hand(self):
        l_kd, l_i = self.l_kd(0.3, 2.0), self.l_i(self.teacher_fed)
        self.assertGreater(abs(l_kd - l_i), 0.1)
        for beta in (0.25, 0.75):
            found = loss_of(self.model(beta), self.x, self.y)
            self.assertAllClose(found, beta * l_kd + (1 - beta) * l_i, rtol=1e-5)
        only = Distillation(self.student, self.teacher, hints=self.model(0.5).hints, beta=0.0)
        self.assertAllClose(loss_of(only, self.x, None), l_i, rtol=1e-5)
        only = Distillation(self.student, self.teacher, outputs_loss=kd(self.student, self.teacher), beta=1.0)
        self.assertAllClose(loss_of(only, self.x, self.y), l_kd, rtol=1e-5)

    def test_one_section_and_other_losses(self):
        l_kd = self.l_kd(0.3, 2.0)
        for sections in ((1,), (2,), (1, 2)):
            expected = 0.5 * l_kd + 0.5 * self.l_i(self.teacher_fed, sections, power=1)
            self.assertAllClose(loss_of(self.model(0.5, sections, loss="l1"), self.x, self.y), expected, rtol=1e-5)

    def test_the_student_feeds_itself(self):
        own = [self.run_numpy(self.student, self.x, "stem"), self.run_numpy(self.student, self.x, "stem", "section1")]
        expected = 0.5 * self.l_kd(0.3, 2.0) + 0.5 * self.l_i(own)
        self.assertAllClose(loss_of(self.model(0.5, teacher_input=False), self.x, self.y), expected, rtol=1e-5)

    def test_without_a_shared_stem_the_first_section_reads_the_students_own(self):
        feeds = [self.run_numpy(self.student, self.x, "stem"), self.teacher_fed[1]]
        expected = 0.5 * self.l_kd(0.3, 2.0) + 0.5 * self.l_i(feeds)
        self.assertAllClose(loss_of(self.model(0.5, stem_is_shared=False), self.x, self.y), expected, rtol=1e-5)

    def test_a_regressor(self):
        regressor = layers.Dense(2, name="regressor")
        regressor.build((None, 2))
        found = self.model(0.5, (2,), teacher_input=False, regressors=(regressor,))
        own = self.run_numpy(self.student, self.x, "stem", "section1", "section2")
        own = own @ regressor.kernel.numpy() + regressor.bias.numpy()
        wanted = self.run_numpy(self.teacher, self.x, "stem", "section1", "section2")
        expected = 0.5 * self.l_kd(0.3, 2.0) + 0.5 * ((own - wanted) ** 2).mean()
        self.assertAllClose(loss_of(found, self.x, self.y), expected, rtol=1e-5)
        self.assertIn(id(regressor.kernel), [id(weight) for weight in found.trainable_weights])

    def test_gradients_are_those_of_each_path(self):
        """L_I of a section fed by the teacher has no gradient for the sections before it; L_KD has for all."""
        for beta, expected in ((0.0, {"section2"}), (0.5, {"stem", "section1", "section2", "head"})):
            model = self.model(beta, (2,))
            with tf.GradientTape() as tape:
                loss = model.compute_loss(x=self.x, y=self.y, y_pred=model(self.x, training=True), training=True)
            weights = self.student.trainable_weights
            gradients = tape.gradient(loss, weights)
            found = {weight.path.split("/")[0] for weight, g in zip(weights, gradients, strict=True) if g is not None}
            self.assertEqual(found, expected)

    def test_means_of_both_terms(self):
        model = self.model(0.5)
        loss_of(model, self.x, self.y)
        found = {metric.name: float(metric.result()) for metric in model.training_metrics}
        expected = {"loss_outputs": self.l_kd(0.3, 2.0), "loss_hints": self.l_i(self.teacher_fed)}
        self.assertAllClose(found, expected, rtol=1e-5)


class BesideTest(tf.test.TestCase):
    """What the loss is beside L_KD and L_I."""

    def test_regularisation_is_a_part_of_it_and_validation_without_a_loss_is_nothing(self):
        keras.utils.set_random_seed(0)
        x = keras.Input((2,))
        student, teacher = (
            keras.Model(x, layers.Dense(2, kernel_regularizer=regularizer)(x))
            for regularizer in (keras.regularizers.L2(0.5), None)
        )
        model, inputs = Distillation(student, teacher, outputs_loss=OutputLoss("l2")), np.eye(2, dtype="float32")
        difference = np.array(teacher(inputs), np.float64) - np.array(student(inputs), np.float64)
        penalty = 0.5 * np.square(np.array(student.layers[-1].kernel, np.float64)).sum()
        self.assertAllClose(loss_of(model, inputs, None), np.square(difference).mean() + penalty, rtol=1e-5)
        self.assertEqual(loss_of(model, inputs, None, training=False), 0.0)


class FeedingTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.student, self.teacher = pair()

    def hint_loss(self, **settings):
        return loss_of(Distillation(self.student, self.teacher, hints=self.hints(**settings), beta=0.0), y=None)

    def hints(self, **settings):
        return hints_of(self.student, self.teacher, **settings)

    def scramble(self, *starts):
        rng = np.random.default_rng(9)
        for weight in self.student.weights:
            if weight.path.startswith(starts):
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))

    def test_earlier_sections_of_the_student_do_not_matter(self):
        for sections, earlier in (((2,), ("stem", "section1")), ((1,), ("stem", "section2", "head"))):
            before = self.hint_loss(sections=sections)
            self.scramble(*earlier)
            self.assertEqual(self.hint_loss(sections=sections), before)

    def test_they_do_where_the_student_feeds_itself(self):
        before = self.hint_loss(sections=(2,), teacher_input=False)
        self.scramble("section1")
        self.assertNotAllClose(self.hint_loss(sections=(2,), teacher_input=False), before, rtol=0.01)

    def test_the_students_section_sees_the_teachers_output(self):
        taps = keras.Model(self.teacher.input, [self.teacher.get_layer(n).output for n in teachers_points((2, 2))])
        expected = taps(X, training=False)
        model = Distillation(self.student, self.teacher, outputs_loss=kd(*self.pair), hints=self.hints(), beta=0.5)
        for layer, tensor in (("section1_block1_conv1", expected[0]), ("section2_block1_conv1", expected[1])):
            with teachers.calls_of(self.student.get_layer(layer)) as calls:
                model(X, training=True)
            self.assertEqual(calls.call_count, 2)  # fed by the teacher, and on the way of the whole student
            differences = [float(np.abs(np.array(call.args[0]) - tensor).max()) for call in calls.call_args_list]
            self.assertLess(min(differences), 1e-5)
            self.assertGreater(max(differences), 0.01)

    @property
    def pair(self):
        return self.student, self.teacher

    def test_the_teacher_runs_once_and_for_both_losses(self):
        """Counted while a step is traced, and never with training=True."""
        model = Distillation(self.student, self.teacher, outputs_loss=kd(*self.pair), hints=self.hints(), beta=0.5)
        watched = [self.teacher.get_layer(name) for name in ("stem", "head", "section2_block2_conv2_bn")]
        with contextlib.ExitStack() as stack:
            stem, head, norm = (stack.enter_context(teachers.calls_of(layer)) for layer in watched)
            tf.function(lambda: model.compute_loss(x=X, y=Y, y_pred=model(X, training=True), training=True))()
        self.assertEqual((stem.call_count, head.call_count, norm.call_count), (1, 1, 1))
        self.assertFalse(norm.call_args.kwargs.get("training"))

    def test_the_student_runs_once_for_its_outputs(self):
        for settings, beta, expected in (({"teacher_input": False}, 0.5, 1), ({}, 1.0, 1)):
            hints = self.hints(**settings) if beta < 1 else None
            model = Distillation(self.student, self.teacher, outputs_loss=kd(*self.pair), hints=hints, beta=beta)
            with teachers.calls_of(self.student.get_layer("section1_block1_conv1")) as calls:
                model(X, training=True)
            self.assertEqual(calls.call_count, expected)

    def test_with_beta_0_neither_network_runs_as_a_whole(self):
        model = Distillation(self.student, self.teacher, hints=self.hints(), beta=0.0)
        watched = self.student.get_layer("head"), self.student.get_layer("stem"), self.teacher.get_layer("head")
        with contextlib.ExitStack() as stack:
            head, stem, teachers_head = (stack.enter_context(teachers.calls_of(layer)) for layer in watched)
            tf.function(lambda: model.compute_loss(x=X, y=None, y_pred=model(X, training=True), training=True))()
            self.assertEqual((head.call_count, stem.call_count, teachers_head.call_count), (0, 0, 0))
            model(X, training=False)  # for validation it is the student
            self.assertEqual((head.call_count, teachers_head.call_count), (1, 0))

    def test_with_beta_0_a_student_that_feeds_itself_runs_as_far_as_its_last_hint(self):
        hints = self.hints(sections=(1,), teacher_input=False)
        model = Distillation(self.student, self.teacher, hints=hints, beta=0.0)
        watched = [self.student.get_layer(name) for name in ("stem", "section2_block1_conv1", "head")]
        with contextlib.ExitStack() as stack:
            calls = [stack.enter_context(teachers.calls_of(layer)) for layer in watched]
            model(X, training=True)
        self.assertEqual([call.call_count for call in calls], [1, 0, 0])

    def test_out_of_training_it_is_the_student(self):
        model = Distillation(
            self.student,
            self.teacher,
            outputs_loss=kd(*self.pair),
            hints=self.hints(),
            beta=0.5,
            validation_loss=CROSS_ENTROPY,
        )
        outputs = self.student(X, training=False)
        self.assertAllClose(model(X, training=False), outputs)
        self.assertAllClose(loss_of(model, training=False), CROSS_ENTROPY(Y, outputs))
        self.assertAllClose(model.outputs_of(model(X, training=False)), outputs)

    def test_equal_networks_have_no_loss_on_hints(self):
        """BatchNormalization uses its statistics in both: in the teacher always, in the student where it is frozen."""
        points = [teachers_points((2, 2))] * 2
        for settings in ({}, {"teacher_input": False}, {"stem_is_shared": False}, {"loss": "l1"}):
            student = apply(self.teacher, Plan())
            hints = hints_of(student, self.teacher, (1, 2), points, **settings)
            model = Distillation(student, self.teacher, hints=hints, beta=0.0)
            with frozen(student.layers):
                self.assertAllClose(loss_of(model, y=None), 0.0, atol=1e-5 if "loss" in settings else 1e-10)
            self.assertGreater(loss_of(model, y=None), 1e-3)  # batch statistics are others

    def test_what_no_comparison_looks_at(self):
        for settings, starts in (
            ({"sections": (2,)}, ("stem", "section1", "head")),
            ({}, ("stem", "head")),
            ({"stem_is_shared": False}, ("head",)),
            ({"sections": (2,), "stem_is_shared": False}, ("stem", "section1", "head")),
            ({"sections": (1,), "teacher_input": False}, ("section2", "head")),
        ):
            found = {layer.name for layer in self.hints(**settings).unreached() if getattr(layer, "weights", ())}
            every = {layer.name for layer in self.student.layers if layer.weights}
            self.assertEqual(found, {name for name in every if name.startswith(starts)}, settings)

    def test_none_of_the_teachers_variables_is_the_models(self):
        model = Distillation(self.student, self.teacher, outputs_loss=kd(*self.pair), hints=self.hints(), beta=0.5)
        model(X, training=True)
        own = {id(weight) for weight in model.variables}
        self.assertEqual(own & {id(weight) for weight in self.teacher.variables}, set())
        self.assertEqual({id(w) for w in model.trainable_weights}, {id(w) for w in self.student.trainable_weights})

    def test_wrong_beta_and_missing_losses(self):
        for beta in (-0.1, 1.5):
            with self.assertRaisesRegex(ValueError, f"beta.*{beta}"):
                Distillation(*self.pair, outputs_loss=kd(*self.pair), hints=self.hints(), beta=beta)
        with self.assertRaisesRegex(ValueError, "hints"):
            Distillation(*self.pair, outputs_loss=kd(*self.pair), beta=0.5)
        with self.assertRaisesRegex(ValueError, "outputs_loss"):
            Distillation(*self.pair, hints=self.hints(), beta=0.5)


def teachers_points(blocks):
    return ("stem_relu", *(f"section{i}_block{count}_relu" for i, count in enumerate(blocks, start=1)))


class StatisticsTest(tf.test.TestCase):
    """Moving means after one step, against copies that are run by themselves; the momentum is 0.5."""

    def step(self, beta, **settings):
        student, teacher = pair(head_norm=True)
        copy, before = apply(student, Plan()), teachers.weights_of(teacher)
        hints = hints_of(student, teacher, **settings)
        outputs_loss = kd(student, teacher) if beta else None
        Distillation(student, teacher, outputs_loss=outputs_loss, hints=hints, beta=beta)(X, training=True)
        self.assertEqual(teachers.moved(before, teacher), set())
        return student, copy, teacher

    @staticmethod
    def statistics(model, *starts):
        return {p: v for p, v in teachers.weights_of(model).items() if p.startswith(starts) and "moving" in p}

    def assert_same(self, model, expected, *starts):
        found, expected = self.statistics(model, *starts), self.statistics(expected, *starts)
        self.assertNotEmpty(found)
        self.assertAllClose(found, expected, rtol=1e-4, atol=1e-5)

    @staticmethod
    def feed_sections(copy, teacher):
        points, own = teachers_points((2, 2)), teachers_points((1, 1))
        taps = keras.Model(teacher.input, [teacher.get_layer(name).output for name in points])(X, training=False)
        for i in (0, 1):
            section = keras.Model(copy.get_layer(own[i]).output, copy.get_layer(own[i + 1]).output)
            section(taps[i], training=True)

    def test_by_hand_one_mean_behind_what_the_teacher_gives(self):
        student, copy, teacher = self.step(0.5)
        conv = copy.get_layer("section2_block1_conv1")
        tap = keras.Model(teacher.input, teacher.get_layer("section1_block2_relu").output)(X, training=False)
        old = copy.get_layer("section2_block1_conv1_bn").moving_mean.numpy()
        expected = 0.5 * old + 0.5 * np.array(conv(tap)).mean((0, 1, 2))
        self.assertAllClose(student.get_layer("section2_block1_conv1_bn").moving_mean, expected, rtol=1e-4, atol=1e-6)

    def test_sections_by_the_teachers_path_the_others_by_the_whole_one(self):
        student, copy, teacher = self.step(0.5)
        whole = apply(copy, Plan())
        whole(X, training=True)
        self.feed_sections(copy, teacher)
        self.assert_same(student, copy, "section1", "section2")
        self.assert_same(student, whole, "stem", "head")
        self.assertNotAllClose(
            whole.get_layer("section2_block1_conv1_bn").moving_mean,
            copy.get_layer("section2_block1_conv1_bn").moving_mean,
            rtol=0.01,
        )

    def test_beta_0_leaves_the_others(self):
        student, copy, teacher = self.step(0.0)
        self.assert_same(student, copy, "stem", "head")
        self.feed_sections(copy, teacher)
        self.assert_same(student, copy, "section1", "section2")

    def test_sections_that_are_not_compared_are_the_whole_paths(self):
        student, copy, teacher = self.step(0.5, sections=(2,))
        whole = apply(copy, Plan())
        whole(X, training=True)
        self.feed_sections(copy, teacher)
        self.assert_same(student, whole, "stem", "section1", "head")
        self.assert_same(student, copy, "section2")

    def test_without_teacher_input_all_are_the_whole_paths(self):
        student, copy, _ = self.step(0.5, teacher_input=False)
        copy(X, training=True)
        self.assert_same(student, copy, "stem", "section1", "section2", "head")

    def test_validation_moves_nothing(self):
        student, teacher = pair()
        before = teachers.weights_of(student)
        model = Distillation(student, teacher, outputs_loss=OutputLoss(), hints=hints_of(student, teacher), beta=0.5)
        model(X, training=False)
        self.assertEqual(teachers.moved(before, student), set())
