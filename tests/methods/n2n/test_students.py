"""Students: equal ones share a score, weights of the teacher are those that fit, and the winner's loss is the paper's."""

from unittest import mock

import numpy as np
import small_tasks
import tensorflow as tf

import tfcompress
from tfcompress.costs import cost
from tfcompress.methods import N2N, phases
from tfcompress.methods.n2n.random_draws import Draw, RandomDraws
from tfcompress.methods.n2n.scoring import Scoring
from tfcompress.methods.n2n.students import Students
from tfcompress.plan import KeepChannels, Plan, Reconfigure, RemoveLayers, Trail
from tfcompress.rewrite import replay
from tfcompress.training import Training

TRAINING = Training(epochs=1)


class StudentsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.task = small_tasks.task_for(small_tasks.trained_network(), accuracy=0.8)

    def test_equal_students_share_one_score(self):
        """In an update and in later ones; the accuracies tell the trainings apart."""
        plans = [Plan((RemoveLayers((name,)),), "fresh") for name in ("bn1", "bn2")]
        first, second = (Trail((plan,)) for plan in plans)
        accuracies = iter((0.5, 0.25))
        students = Students(Scoring(self.task, TRAINING, inherit=False), (1, 50_000))
        with mock.patch.object(Scoring, "train", lambda *args: next(accuracies)):
            scores = students.score_all(self.task.network, [first, second, Trail((plans[0],))], strict=False)
            scores += students.score_all(self.task.network, [second], strict=False)
        self.assertEqual([score.accuracy for score in scores], [0.5, 0.25, 0.5, 0.25])

    def test_a_student_inherits_the_weights_that_fit_if_it_is_asked_for(self):
        """Without bn1, with three channels of five in the first block, and a stem of 1x1: the rest is as it was."""
        group = next(group for group in self.task.groups if "block1_conv1" in group.producers)
        edits = (RemoveLayers(("bn1",)), Reconfigure("stem", {"kernel_size": 1}), KeepChannels(group.name, (0, 1, 2)))
        changed = {"stem", "block1_conv1", "block1_conv2"}
        for inherit in (True, False):
            student = Scoring(self.task, TRAINING, inherit).built(self.task.network, Plan(edits, "fresh"))
            with_weights = {layer.name for layer in student.layers if layer.weights}
            same = {
                name
                for name in with_weights
                if all(
                    np.array_equal(*pair)
                    for pair in zip(
                        student.get_layer(name).get_weights(),
                        self.task.model.get_layer(name).get_weights(),
                        strict=True,
                    )
                )
            }
            self.assertEqual(same, with_weights - changed if inherit else set())

    def test_the_winner_learns_from_labels_and_a_tenth_as_much_from_logits(self):
        """L_hard + lambda L_KD, as a weighted mean of the two."""
        for method, weight in ((N2N(), 0.1), (N2N(soft_weight=0.5), 0.5)):
            with mock.patch.object(phases, "train_student") as train:
                method.recover(self.task.model, self.task)
            teaching = train.call_args.kwargs["teaching"]
            self.assertEqual(teaching.soft, "logits")
            self.assertAllClose((1 - teaching.alpha) / teaching.alpha, weight)

    def test_the_budget_is_held_though_every_draw_keeps_everything(self):
        """The smallest known plan takes the place of the first stage's draws, which are as large as the teacher, and the
        second stage's leave its student as it is: it is scored once.
        """
        model = small_tasks.trained_network()
        keeping = {False: False, 0.1: 1.0}  # by the first choice of each stage: layers stay, shares are whole

        def rollouts(draws, count):
            return [Draw(np.full(draws._steps, keeping[draws._choices[0].item()]))] * count

        for halving in (None, 2):  # one after the other, and side by side
            method = N2N(random=True, updates=1, rollouts=2, score_epochs=2, epochs=0, halving=halving)
            trains = mock.Mock(return_value=0.5)
            with mock.patch.object(RandomDraws, "rollouts", rollouts), mock.patch.object(Scoring, "train", trains):
                result = tfcompress.compress(model, method, small_tasks.pictures(40), params_budget=0.6, verbose=0)
            self.assertEqual(trains.call_count, 1 if halving is None else 2)  # after one epoch and after two
            self.assertLessEqual(cost(result.model).params, 0.6 * cost(model).params)
            self.assertTrue(any("no student drawn is within the budget" in note for note in result.notes))
            first, second = result.candidates
            self.assertEqual((len(first.trail), len(second.trail), first.cost), (1, 2, second.cost))
            self.assertEqual(cost(replay(model, second.trail)), second.cost)
            rewards = result.history["search"]["students: reward"]
            self.assertEqual(rewards, [-1, -1, first.score, first.score])


if __name__ == "__main__":
    tf.test.main()
