"""RLAL's settings, its timetable by the paper's appendix B, and how they reach the parts that it is made of."""

import dataclasses
from types import SimpleNamespace
from unittest import mock

import numpy as np
import small_tasks
import tensorflow as tf

from tfcompress.channels.environment import STATE_SIZE
from tfcompress.methods import RLAL, phases
from tfcompress.methods.rlal import AgentSettings
from tfcompress.methods.rlal import method as method_module
from tfcompress.methods.rlal.joint import Timetable

RESNET = RLAL.as_published("resnet56-cifar10")
FRESH, TRAINED = SimpleNamespace(is_trained=False), SimpleNamespace(is_trained=True, accuracy=0.9)


def rates(method, task, epochs):
    schedule = dataclasses.replace(method.training, epochs=epochs).schedule_for(task.is_trained)
    return [schedule(epoch, epochs) for epoch in range(epochs)]


class PaperTest(tf.test.TestCase):
    """Appendix B and section 4."""

    def test_resnet56_and_mobilenet_v2_on_cifar10(self):
        paper = {
            "epochs": 200,
            "batch_size": 128,
            "learning_rate": 0.1,
            "schedule": "step",
            "milestones": (100, 150),
            "reference_epochs": 200,
            "decay": 0.1,
            "momentum": 0.9,
            "nesterov": False,
            "optimizer": "sgd",
            "weight_decay": 1e-4,
            "keep": "last",
            "agent_epochs": (10, 20, 90),
            "episodes_per_epoch": 10,
            "alignment": 1e-4,
            "reward_images": 5000,
            "criterion": "l1_norm",
            "recalibrate_batches": 0,
            # What the paper does not have.
            "joint": True,
            "scale_alignment": False,
            "rescore_best": False,
            "teach": None,
            "recalibrate_student": 0,
        }
        method = RESNET
        self.assertEqual(RLAL.as_published("mobilenetv2-cifar10"), method)
        self.assertEqual({name: getattr(method, name) for name in paper}, paper)
        for task in (FRESH, TRAINED):
            self.assertEqual(method.epochs_of_finetuning(task), 200)  # "with the same settings"
        agent = method.agent
        self.assertEqual((agent.standardise_rewards, agent.first_policy), (False, "middle"))
        self.assertEqual((agent.actor_learning_rate, agent.critic_learning_rate), (1e-4, 1e-3))
        self.assertEqual(agent.environment_learning_rate, 1e-3)
        self.assertEqual((agent.hidden, agent.entropy_coefficient), ((300, 300), 0.1))
        self.assertTrue(agent.use_environment_model)

    def test_learning_rate_of_a_fresh_model(self):
        expected = [0.1] * 100 + [0.01] * 50 + [0.001] * 50
        self.assertAllClose(rates(RESNET, FRESH, 200), expected, rtol=1e-9, atol=0)

    def test_learning_rate_of_a_warm_start(self):
        expected = [0.01] * 100 + [0.001] * 50 + [0.0001] * 50
        self.assertAllClose(rates(RLAL(epochs=200, schedule="step"), TRAINED, 200), expected, rtol=1e-9, atol=0)

    def test_a_learning_rate_that_is_given_holds_for_both(self):
        for task in (FRESH, TRAINED):
            self.assertAllClose(
                rates(RLAL(learning_rate=0.05, epochs=4, schedule="step"), task, 4), [0.05, 0.05, 0.005, 0.0005]
            )

    def test_timetable(self):
        self.assertEqual(RESNET.timetable(FRESH), Timetable(10, 20, 90))

    def test_imagenet(self):
        resnet = RLAL.as_published("resnet-imagenet")
        self.assertEqual((resnet.epochs, resnet.epochs_of_finetuning(FRESH), resnet.reward_images), (90, 90, 50_000))
        self.assertEqual(resnet.timetable(FRESH), Timetable(10, 20, 70))
        self.assertAllClose(rates(resnet, FRESH, 90), [0.1] * 30 + [0.01] * 30 + [0.001] * 30, rtol=1e-9, atol=0)
        mobilenet = RLAL.as_published("mobilenetv2-imagenet")
        self.assertEqual((mobilenet.epochs, mobilenet.epochs_of_finetuning(FRESH)), (155, 155))
        self.assertEqual((mobilenet.batch_size, mobilenet.reward_images), (256, 50_000))
        for method in (resnet, mobilenet):
            self.assertEqual((method.momentum, method.weight_decay, method.optimizer), (0.9, 1e-4, "sgd"))
        self.assertEqual(mobilenet.timetable(FRESH), Timetable(10, 20, 90))
        cosine = rates(mobilenet, FRESH, 155)
        self.assertAllClose([cosine[0], cosine[31], cosine[93]], 0.025 * (1 + np.cos(np.pi * np.array([0, 0.2, 0.6]))))

    def test_single_settings_overrule_what_is_published(self):
        method = RLAL.as_published("resnet56-cifar10", epochs=8, alignment=0.1)
        self.assertEqual((method.epochs, method.alignment, method.batch_size), (8, 0.1, 128))

    def test_a_network_that_was_not_published(self):
        with self.assertRaisesRegex(ValueError, "Expected `network`.*resnet56-cifar10.*Received: network='resnet110'"):
            RLAL.as_published("resnet110")
        self.assertIn("resnet56-cifar10", RLAL.published())


class TimetableTest(tf.test.TestCase):
    def test_a_shorter_run_scales_every_milestone(self):
        self.assertEqual(RLAL(epochs=20).timetable(FRESH), Timetable(1, 2, 9))
        self.assertEqual(RLAL(epochs=100).timetable(FRESH), Timetable(5, 10, 45))
        self.assertAllClose(rates(RESNET, FRESH, 20), [0.1] * 10 + [0.01] * 5 + [0.001] * 5)

    def test_the_shortest_run_has_one_epoch_for_each_phase(self):
        """Weights only; filling the buffer; learning; weights only again."""
        self.assertEqual(RLAL(epochs=4).timetable(FRESH), Timetable(1, 2, 3))

    def test_a_warm_start_leaves_the_weights_only_epochs_out(self):
        self.assertEqual(RLAL(epochs=200).timetable(TRAINED), Timetable(0, 10, 80))
        self.assertEqual(RLAL(epochs=20).timetable(TRAINED), Timetable(0, 1, 8))
        self.assertEqual(RLAL(epochs=4).timetable(TRAINED), Timetable(0, 1, 2))

    def test_in_every_run_the_agent_fills_its_buffer_and_learns_before_the_end(self):
        for epochs in (4, 5, 7, 13, 200, 301):
            for agent_epochs in (
                (10, 20, 90),
                (0, 1, 2),
                (0, 100, 200),
                (150, 180, 190),
                (197, 198, 200),
                (198, 199, 200),
            ):
                method = RLAL(epochs=epochs, agent_epochs=agent_epochs)
                for task in (FRESH, TRAINED):
                    times = method.timetable(task)
                    said = f"{epochs} epochs, {agent_epochs}: {times}"
                    self.assertTrue(0 <= times.start < times.learn < times.end <= epochs, said)


class SettingsTest(tf.test.TestCase):
    def test_refused(self):
        for name, values in {
            "epochs": (3, 0, -1, 4.5, "4"),
            "finetune_epochs": (-1, 1.5),
            "agent_epochs": ((20, 10, 90), (10, 20, 20), (10, 10, 90), (-1, 20, 90), (10, 20, 201), (10, 20)),
            "joint": ("yes", 2),
            "episodes_per_epoch": (0, 2.5),
            "episodes": (0, -1, 2.5),
            "local_search": (-1, 2.5, "4"),
            "scale_alignment": (1, "yes"),
            "recalibrate_student": (-1, 2.5),
            "teach": ("dk", 3),
            "alignment": (-1e-4, float("nan")),
            "batch_size": (0, 12.5),
            "learning_rate": (0.0, -0.1, float("nan")),
            "schedule": ("linear",),
            "momentum": (1.0, -0.1),
            "weight_decay": (-1e-4,),
            "reward_images": (0, -5, 0.5),
            "recalibrate_batches": (-1,),
            "criterion": ("no_such_criterion", None),
            "reference_epochs": (0,),
        }.items():
            for value in values:
                with (
                    self.subTest(name=name, value=value),
                    self.assertRaisesRegex((ValueError, TypeError), rf"(?s)Expected `{name}`.*Received: {name}="),
                ):
                    RLAL(**{name: value})

    def test_joint_training_has_four_parts_of_an_epoch_or_more(self):
        for epochs in (3, 0):
            for joint in (True, None):  # which of the two ways it will be is not known yet
                with self.assertRaisesRegex(ValueError, rf"Expected `epochs`.* 4 or more.*={epochs}\..*joint=False"):
                    RLAL(epochs=epochs, joint=joint)
            self.assertEqual(RLAL(epochs=epochs, joint=False).epochs, epochs)

    def test_settings_are_plain_data_for_the_run_folder(self):
        def my_criterion(group, evidence):
            return np.ones(group.size)

        settings = RLAL(criterion=my_criterion, agent=AgentSettings(use_environment_model=False)).settings()
        self.assertIn("my_criterion", settings["criterion"])
        self.assertEqual(settings["agent"]["use_environment_model"], False)
        self.assertEqual(list(settings["agent_epochs"]), [10, 20, 90])

    def test_equal_settings_are_equal(self):
        self.assertEqual(RLAL(epochs=8, agent_epochs=[10, 20, 90]), RLAL(epochs=8))
        self.assertNotEqual(RLAL(epochs=8), RLAL(epochs=9))


class ScriptedAgent:
    """Stands in for `PruningAgent`: prunes half of everything."""

    made = ()

    def __init__(self, state_size, epochs, settings, seed, first_action):
        self.arguments = {"state_size": state_size, "epochs": epochs, "settings": settings, "seed": seed}
        self.first_action = first_action
        self.remembered, self.learned = [], []
        ScriptedAgent.made = (*ScriptedAgent.made, self)

    def start_epoch(self, epoch):
        self.epoch = epoch

    def act(self, state):
        return 0.5

    def remember(self, states, actions, reward, epoch):
        self.remembered.append((states, actions, reward, epoch))

    def learn_from(self, episodes):
        self.learned.append(episodes)
        return {"actor_loss": 0.0}

    def state_dict(self):
        return {}

    def load_state_dict(self, tensors):
        raise AssertionError("nothing is resumed here")


class AblationsTest(tf.test.TestCase):
    """Table 3 and Figure 2: each is one setting, and reaches the part that it is about."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small_tasks.residual_network()

    def search(self, **settings):
        """Search result, the agent that it made, and what its training was given."""
        task = small_tasks.task_for(self.model, flops=0.6, seed=3)
        training = {}

        def train(model, task, how, phase, **arguments):
            epochs = how.epochs
            training.update(arguments, phase=phase, epochs=epochs)
            for epoch in range(epochs):
                for callback in arguments["callbacks"]:
                    callback.on_epoch_begin(epoch, {})
                    callback.on_epoch_end(epoch, {})
            return {"loss": [0.0] * epochs}

        with (
            mock.patch.object(method_module, "PruningAgent", ScriptedAgent),
            mock.patch.object(phases, "train_phase", train),
        ):
            found = RLAL(epochs=4, **{"scale_alignment": False} | settings).search(task)
        return found, ScriptedAgent.made[-1], training

    def test_as_in_the_paper(self):
        found, agent, training = self.search()
        expected = {"state_size": STATE_SIZE, "epochs": 4, "settings": AgentSettings(), "seed": 3}
        self.assertEqual(agent.arguments, expected)
        self.assertEqual(training["phase"], "joint training")
        (alignment,) = training["penalties"]
        self.assertEqual((alignment.name, alignment.strength), ("alignment", 1e-4))
        self.assertEqual([epoch for *_, epoch in agent.remembered], [1] * 10 + [2] * 10)
        self.assertEqual(agent.learned, [10])
        self.assertCountEqual(training["stateful"], ["agent", "joint"])
        self.assertTrue(found.plan)
        task = small_tasks.task_for(self.model, flops=0.6)
        self.assertTrue(task.fits(task.costs.of(found.plan)))
        self.assertEqual({edit.group for edit in found.plan}, {"block1_conv1", "block2_conv1"})

    def test_without_epoch_embeddings(self):
        _, agent, _ = self.search(agent=AgentSettings(use_environment_model=False))
        self.assertFalse(agent.arguments["settings"].use_environment_model)

    def test_without_soft_regularization(self):
        _, _, training = self.search(alignment=0)
        self.assertEqual(list(training["penalties"]), [])

    def test_number_of_episodes(self):
        _, agent, _ = self.search(episodes_per_epoch=3)
        self.assertLen(agent.remembered, 6)
