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

FRESH, TRAINED = SimpleNamespace(is_trained=False), SimpleNamespace(is_trained=True, accuracy=0.9)


def rates(method, task, epochs):
    schedule = dataclasses.replace(method.training, epochs=epochs).schedule_for(task.is_trained)
    return [schedule(epoch, epochs) for epoch in range(epochs)]


class PaperTest(tf.test.TestCase):
    """Appendix B and section 4."""

    def test_defaults_are_those_for_cifar10(self):
        paper = {
            "epochs": 200,
            "batch_size": 128,
            "milestones": (100, 150),
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "agent_epochs": (10, 20, 90),
            "episodes_per_epoch": 10,
            "alignment": 1e-4,
            "reward_images": 5000,
            "criterion": "l1_norm",
            "recalibrate_batches": 0,
        }
        method = RLAL()
        self.assertEqual({name: getattr(method, name) for name in paper}, paper)
        self.assertEqual(method.epochs_of_finetuning, 200)  # "with the same settings"
        agent = method.agent
        self.assertEqual((agent.actor_learning_rate, agent.critic_learning_rate), (1e-4, 1e-3))
        self.assertEqual(agent.environment_learning_rate, 1e-3)
        self.assertEqual((agent.hidden, agent.entropy_coefficient), ((300, 300), 0.1))
        self.assertTrue(agent.use_environment_model)

    def test_learning_rate_of_a_fresh_model(self):
        expected = [0.1] * 100 + [0.01] * 50 + [0.001] * 50
        self.assertAllClose(rates(RLAL(), FRESH, 200), expected, rtol=1e-9, atol=0)

    def test_learning_rate_of_a_warm_start(self):
        expected = [0.01] * 100 + [0.001] * 50 + [0.0001] * 50
        self.assertAllClose(rates(RLAL(), TRAINED, 200), expected, rtol=1e-9, atol=0)

    def test_a_learning_rate_that_is_given_holds_for_both(self):
        for task in (FRESH, TRAINED):
            self.assertAllClose(rates(RLAL(learning_rate=0.05, epochs=4), task, 4), [0.05, 0.05, 0.005, 0.0005])

    def test_timetable(self):
        self.assertEqual(RLAL().timetable(FRESH), Timetable(10, 20, 90))

    def test_imagenet(self):
        resnet = RLAL(epochs=90, reference_epochs=90, milestones=(30, 60), agent_epochs=(10, 20, 70))
        self.assertEqual(resnet.timetable(FRESH), Timetable(10, 20, 70))
        self.assertAllClose(rates(resnet, FRESH, 90), [0.1] * 30 + [0.01] * 30 + [0.001] * 30, rtol=1e-9, atol=0)
        mobilenet = RLAL(
            epochs=155, reference_epochs=155, batch_size=256, learning_rate=0.05, schedule="cosine", milestones=()
        )
        self.assertEqual(mobilenet.timetable(FRESH), Timetable(10, 20, 90))
        cosine = rates(mobilenet, FRESH, 155)
        self.assertAllClose([cosine[0], cosine[31], cosine[93]], 0.025 * (1 + np.cos(np.pi * np.array([0, 0.2, 0.6]))))


class TimetableTest(tf.test.TestCase):
    def test_a_shorter_run_scales_every_milestone(self):
        self.assertEqual(RLAL(epochs=20).timetable(FRESH), Timetable(1, 2, 9))
        self.assertEqual(RLAL(epochs=100).timetable(FRESH), Timetable(5, 10, 45))
        self.assertAllClose(rates(RLAL(), FRESH, 20), [0.1] * 10 + [0.01] * 5 + [0.001] * 5)

    def test_the_shortest_run_has_one_epoch_for_each_phase(self):
        """Weights only; filling the buffer; learning; weights only again."""
        self.assertEqual(RLAL(epochs=4).timetable(FRESH), Timetable(1, 2, 3))

    def test_a_warm_start_leaves_the_weights_only_epochs_out(self):
        self.assertEqual(RLAL().timetable(TRAINED), Timetable(0, 10, 80))
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
            "episodes_per_epoch": (0, 2.5),
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

    def __init__(self, state_size, epochs, settings, seed):
        self.arguments = {"state_size": state_size, "epochs": epochs, "settings": settings, "seed": seed}
        self.remembered, self.learned = [], 0
        ScriptedAgent.made = (*ScriptedAgent.made, self)

    def start_epoch(self, epoch):
        self.epoch = epoch

    def act(self, state):
        return 0.5

    def remember(self, states, actions, reward, epoch):
        self.remembered.append((states, actions, reward, epoch))

    def learn_epoch(self):
        self.learned += 1
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
            found = RLAL(epochs=4, **settings).search(task)
        return found, ScriptedAgent.made[-1], training

    def test_as_in_the_paper(self):
        found, agent, training = self.search()
        expected = {"state_size": STATE_SIZE, "epochs": 4, "settings": AgentSettings(), "seed": 3}
        self.assertEqual(agent.arguments, expected)
        self.assertEqual(training["phase"], "joint training")
        (alignment,) = training["penalties"]
        self.assertEqual((alignment.name, alignment.strength), ("alignment", 1e-4))
        self.assertEqual([epoch for *_, epoch in agent.remembered], [1] * 10 + [2] * 10)
        self.assertEqual(agent.learned, 1)
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
