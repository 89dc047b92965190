"""AMC: its settings by the paper, its rewards by hand, and a search that holds the budget, goes on, and repeats."""

import dataclasses
import math
import pathlib
import tempfile
from types import SimpleNamespace
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf

import tfcompress
from tfcompress import Budget, Control
from tfcompress.importance import l1_norm
from tfcompress.methods import AMC
from tfcompress.methods.amc import AgentSettings, method
from tfcompress.methods.amc.rewards import AgentReward, check_error
from tfcompress.methods.episodes import Episodes
from tfcompress.methods.rlal import AgentSettings as OfRLAL
from tfcompress.rewrite import apply
from tfcompress.training import Checkpoints, Objective

AGENT = AgentSettings(hidden=(8,), batch_size=8)
TOTAL = 864 + 12 * 1728 + 96  # stem, twelve channels inside blocks, head


class SettingsTest(tf.test.TestCase):
    def test_the_papers_settings(self):
        amc, agent = AMC.as_published(), AMC().agent
        self.assertEqual((amc.episodes, amc.exploring_episodes, amc.max_rate), (400, 100, 0.8))
        self.assertEqual((agent.hidden, agent.tau, agent.batch_size), ((300, 300), 0.01, 64))
        self.assertEqual((agent.buffer_capacity, agent.gamma, agent.sigma), (2000, 1.0, 0.5))
        self.assertEqual(amc.agent_settings(), agent)

    def test_a_search_of_another_length_ends_with_the_same_sigma(self):
        short = AMC(episodes=40)
        self.assertEqual(short.exploring_episodes, 10)
        self.assertAllClose(short.agent_settings().sigma_decay ** 30, 0.99**300)
        at_once = AMC(episodes=60, exploring=0)
        self.assertAllClose(at_once.agent_settings().sigma_decay ** 60, 0.99**300)

    def test_refused(self):
        for name, values in {
            "episodes": (0, 1.5, "4"),
            "exploring": (-1, 200, 500, 1.5),
            "reward": ("accuracy", 1),
            "max_rate": (0, 1.1, float("nan")),
            "reward_images": (0, 0.5),
            "recalibrate_batches": (-1,),
            "criterion": ("best", None),
            "agent": (None, OfRLAL()),
            "epochs": (-1,),
        }.items():
            for value in values:
                with (
                    self.subTest(name=name, value=value),
                    self.assertRaisesRegex(ValueError, rf"(?s)Expected `{name}`.*Received: {name}="),
                ):
                    AMC(**{name: value})
        for name, value in {
            "hidden": (0,),
            "sigma": 0.0,
            "sigma_decay": 1.1,
            "tau": 0.0,
            "gamma": -0.1,
            "baseline_decay": 1.0,
            "buffer_capacity": 0,
            "updates_per_step": 0,
        }.items():
            with self.subTest(name=name), self.assertRaisesRegex(ValueError, f"Expected `{name}`"):
                AgentSettings(**{name: value})

    def test_a_budget_is_needed_where_the_reward_is_the_error_alone(self):
        for reward in (None, "flops", "params"):
            self.assertEqual(AMC(reward=reward).budget(Budget()), Budget())
        with self.assertRaisesRegex(ValueError, "Expected a budget"):
            AMC(reward="error").budget(Budget())
        given = Budget(flops=0.5)
        self.assertEqual(AMC(reward="flops").budget(given), given)

    def test_a_group_loses_no_more_than_the_largest_rate(self):
        """Of 5 and 7 channels 1 and 2 stay at least; with 1 as the largest rate a channel of each."""
        task = small_tasks.task_without_data(small_tasks.residual_network(), {"macs": 0.5})
        self.assertEqual(task.costs.total.macs, TOTAL)
        self.assertEqual(AMC().least(task.costs, Control()).macs, TOTAL - 9 * 1728)
        self.assertEqual(AMC(max_rate=1).least(task.costs, Control()).macs, TOTAL - 10 * 1728)
        # 3 and 4 channels at least; where the caller allows 1 at most, that is what stays.
        limited = Control.of(ratio_limits={"block1_conv1": (0.8, 0.9)})
        self.assertEqual(AMC(max_rate=0.5).least(task.costs, limited).macs, TOTAL - (4 + 3) * 1728)
        refusal = r"at least 0\.2832.*Received: flops_budget=0.25.*max_rate"
        with self.assertRaisesRegex(ValueError, refusal):
            self.compress(AMC(), flops_budget=0.25)

    def compress(self, amc, **settings):
        model = small_tasks.residual_network(activation="softmax")
        return tfcompress.compress(model, amc, small_tasks.pictures(32), verbose=0, **settings)

    def test_a_buffer_that_cannot_hold_an_episode_is_refused(self):
        with self.assertRaisesRegex(ValueError, "Expected `buffer_capacity`.*of 2 steps.*Received: buffer_capacity=1"):
            self.compress(AMC(agent=AgentSettings(buffer_capacity=1)), flops_budget=0.6)

    def test_without_tf_agents_nothing_is_begun(self):
        missing = mock.patch.object(method, "load_tf_agents", side_effect=ImportError("Run `pip install tf-agents`"))
        with missing, self.assertRaisesRegex(ImportError, "pip install"):
            self.compress(AMC(), flops_budget=0.6)


def costs(**counts):
    """Stands in for a cost model whose counts do not depend on the plan."""
    return SimpleNamespace(count=lambda metric, kept: counts[metric])


class RewardTest(tf.test.TestCase):
    def objective(self, metric, higher_is_better=True, score=None):
        return Objective("mse", metric, higher_is_better=higher_is_better, score=score)

    def test_of_an_accuracy(self):
        """0.8 of 1: the error is 0.2; e^3 MACs is 20.09, and of 20 the logarithm is 2.9957, of 7 parameters 1.9459."""
        accuracy = self.objective(keras.metrics.SparseCategoricalAccuracy)
        counted = costs(macs=20, params=7)
        for name, expected in {"error": -0.2, "flops": -0.2 * 2.995732, "params": -0.2 * 1.945910}.items():
            check_error(name, accuracy)
            self.assertAllClose(AgentReward(name, accuracy, counted)(0.8, np.ones(1)), expected, rtol=1e-6)
        self.assertEqual(AgentReward("flops", accuracy, costs(macs=0))(0.8, np.ones(1)), 0.0)

    def test_of_a_metric_of_which_less_is_better(self):
        """A mean absolute error of 1.5 is measured as -1.5."""
        errors = self.objective(keras.metrics.MeanAbsoluteError, higher_is_better=False)
        self.assertAllClose(AgentReward("error", errors, costs())(-1.5, np.ones(1)), -1.5)
        self.assertAllClose(AgentReward("flops", errors, costs(macs=20))(-1.5, np.ones(1)), -1.5 * math.log(20))

    def test_of_any_other_metric(self):
        score = self.objective(None, score=lambda y, outputs: y)
        self.assertEqual(AgentReward("error", score, costs())(37.0, np.ones(1)), 37.0)
        check_error("error", score)
        for objective in (score, self.objective(keras.metrics.AUC)):
            for name in ("flops", "params"):
                with self.assertRaisesRegex(ValueError, f"reward='{name}'.*Received.*reward='error'"):
                    check_error(name, objective)


class Killed(BaseException):
    """Ends a run, as a kill would."""


class SearchTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small_tasks.residual_network()
        x, _ = cls.arrays = small_tasks.pictures(200)
        # Answers of the random network differ, and so do rewards.
        cls.model.get_layer("head").bias.assign_sub(np.mean(cls.model(x, training=False), axis=0))
        cls.amc = AMC(episodes=24, exploring=6, epochs=0, agent=AGENT, recalibrate_batches=1)
        cls.whole = cls.compress()

    @classmethod
    def compress(cls, amc=None, **settings):
        settings = {"flops_budget": 0.6, "seed": 1, **settings}
        return tfcompress.compress(cls.model, amc or cls.amc, cls.arrays, verbose=0, **settings)

    def test_the_budget_is_held_and_the_best_episode_is_taken(self):
        history = self.whole.history["search"]
        self.assertEqual({len(values) for values in history.values()}, {24})
        self.assertLessEqual(self.whole.after.macs, 0.6 * TOTAL)
        self.assertLessEqual(max(history["flops"]), 0.6)
        self.assertGreater(len(set(history["reward"])), 3)
        best = self.whole.candidates[0]
        self.assertEqual(best.score, max(history["reward"]))
        self.assertEqual(best.origin, f"episode {1 + int(np.argmax(history['reward']))}")
        self.assertEqual(best.cost.macs, self.whole.after.macs)
        scores = [candidate.score for candidate in self.whole.candidates]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertLen({candidate.trail.to_json() for candidate in self.whole.candidates}, len(scores))

    def test_the_reward_is_minus_the_error_of_the_network_really_cut(self):
        task = small_tasks.task_for(self.model, self.arrays, seed=1, flops=0.6)
        search = dataclasses.replace(self.amc, episodes=4, exploring=2, recalibrate_batches=0).search(task)
        x, y = task.splits.validation.take(10**6)
        for candidate in search.candidates:
            cut = apply(task.model, candidate.trail.last)
            self.assertAllClose(candidate.score, np.mean(np.argmax(cut(x, training=False), axis=-1) == y) - 1)
        for old, new in zip(self.model.weights, task.model.weights, strict=True):
            self.assertAllEqual(old, new)

    def test_the_agent_learns_after_the_episodes_that_explore(self):
        losses, sigmas = (self.whole.history["search"][name] for name in ("critic_loss", "sigma"))
        self.assertEqual([loss is None for loss in losses], [True] * 6 + [False] * 18)
        decay = 0.99 ** (300 / 18)
        self.assertAllClose(sigmas, [0.5] * 6 + [0.5 * decay**n for n in range(1, 19)])

    def test_equal_plans_are_measured_once(self):
        task = small_tasks.task_for(self.model, self.arrays, seed=1, flops=0.6)
        measured = []
        episodes = Episodes(task, l1_norm, 20, fixed_weights=True)
        with mock.patch.object(episodes, "_reward", lambda plan: measured.append(plan) or 0.25):
            rewards = [episodes.reward(np.array(kept)) for kept in ([6, 5, 7], [6, 4, 7], [6, 5, 7])]
        self.assertEqual(rewards, [0.25] * 3)
        self.assertLen(measured, 2)

    def test_a_search_that_is_killed_goes_on_after_its_last_round_and_ends_the_same(self):
        """Killed in the second and the third round, where the folder has the rounds before, and behind the last one."""
        folder, play = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())), Episodes.play
        for last, played in ((15, 15), (23, 13)):
            calls = []

            def killed(episodes, act, left=played, calls=calls):
                if len(calls) == left:
                    raise Killed
                calls.append(act)
                return play(episodes, act)

            with mock.patch.object(Episodes, "play", killed), self.assertRaises(Killed):
                self.compress(run_dir=folder)
            self.assertLen(list((folder / "checkpoints" / "search").iterdir()), last // 10)
        with mock.patch.object(Checkpoints, "finish", side_effect=Killed), self.assertRaises(Killed):
            self.compress(run_dir=folder)
        with mock.patch.object(Episodes, "play", side_effect=Killed):
            result = self.compress(run_dir=folder)
        self.assertTrue((folder / "checkpoints" / "search" / "finished").exists())
        self.assertEqual(result.history, self.whole.history)
        self.assertEqual(result.trail, self.whole.trail)
        for old, new in zip(self.whole.model.weights, result.model.weights, strict=True):
            self.assertAllEqual(old, new)

    def test_another_seed_searches_elsewhere(self):
        short = dataclasses.replace(self.amc, episodes=4, exploring=3)
        flops = [self.compress(short, seed=seed).history["search"]["flops"] for seed in (1, 2)]
        self.assertEqual(flops[0][:3], self.whole.history["search"]["flops"][:3])
        self.assertNotEqual(flops[0], flops[1])

    def test_without_a_budget_the_reward_weighs_the_flops(self):
        amc = dataclasses.replace(self.amc, episodes=6, exploring=3)
        search = self.compress(amc, flops_budget=None).history["search"]
        for reward, metric, share in zip(search["reward"], search["metric"], search["flops"], strict=True):
            self.assertAllClose(reward, -(1 - metric) * math.log(share * TOTAL), rtol=1e-6)
        self.assertGreater(len(set(search["flops"])), 2)

    def test_of_equal_rewards_the_cheaper_plan_wins(self):
        """A model that is always right: -Error log(FLOPs) is 0 whatever is cut."""
        amc = dataclasses.replace(self.amc, episodes=6, exploring=3, reward="params")
        with mock.patch.object(Episodes, "reward", lambda episodes, kept: 1.0):
            result = self.compress(amc, flops_budget=None)
        self.assertEqual({candidate.score for candidate in result.candidates}, {0.0})
        params = [candidate.cost.params for candidate in result.candidates]
        self.assertEqual(params, sorted(params))
        self.assertLess(params[0], params[-1])


if __name__ == "__main__":
    tf.test.main()
