import functools
import io
import random

import keras
import numpy as np
import tensorflow as tf

from tfcompress.agents import PruningAgent
from tfcompress.agents.sac import UPDATES_PER_EPISODE
from tfcompress.methods.rlal import AgentSettings

# Small, so that most of a test's time is not spent on multiplications.
SMALL = {"hidden": (16, 16), "batch_size": 8, "buffer_capacity": 100}


# As the paper has it: rewards as they are, and a policy that begins in the middle.
PUBLISHED = {"standardise_rewards": False, "first_policy": "middle"}


def make_agent(seed=0, epochs=6, first_action=0.5, **settings):
    settings = AgentSettings(**(SMALL | PUBLISHED | settings))
    return PruningAgent(state_size=9, epochs=epochs, settings=settings, seed=seed, first_action=first_action)


@functools.cache
def agent_and_its_start(settings):
    agent = make_agent(**dict(settings))
    return agent, agent.state_dict()


def reset_agent(**settings):
    """An agent as good as new. Most tests share one: to compile it takes longer than all that they do with it."""
    agent, start = agent_and_its_start(tuple(sorted(settings.items())))
    agent.load_state_dict(start)
    return agent


def fill(agent, epochs=(0, 2), steps=4, episodes=3, seed=0):
    """Remembers random episodes of the given epochs."""
    rng = np.random.default_rng(seed)
    for epoch in epochs:
        for _ in range(episodes):
            agent.remember(rng.random([steps, 9]), rng.random(steps), rng.random(), epoch)


def part(state, name):
    """The arrays of one part of an agent's state, in order."""
    return [value for key, value in sorted(state.items()) if key.startswith(name + "/")]


def mlp(x, weights):
    """A network of ReLU layers by hand; the last one is linear."""
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = np.maximum(x @ kernel + bias, 0)
    return (x @ weights[-2] + weights[-1])[:, 0]


class ActingTest(tf.test.TestCase):
    def test_actions_fill_the_interval(self):
        agent = reset_agent()
        agent.start_epoch(0)
        actions = np.array([agent.act(np.full(9, 0.5)) for _ in range(200)])
        self.assertBetween(actions.min(), 0.0, 0.15)
        self.assertBetween(actions.max(), 0.85, 1.0)
        # A standard normal x, squashed to (1 + tanh x) / 2, has a standard deviation of 0.314.
        self.assertAllClose(actions.std(), 0.314, atol=0.03)
        self.assertAllClose(agent.mean_action(np.full(9, 0.5)), 0.5, atol=0.02)

    def test_the_mean_action_is_the_squashed_mean_of_s_and_z(self):
        agent = reset_agent()
        agent.start_epoch(3)
        state = agent.state_dict()
        # Make the last layers large, or every policy would answer 0.5.
        for name in ("actor/04", "actor/06"):
            state[name] = np.random.default_rng(0).uniform(-1, 1, state[name].shape)
        agent.load_state_dict(state)
        s = np.random.default_rng(1).random(9)
        mean = mlp(np.concatenate([s, state["z"]])[None], part(state, "actor")[:6])[0]
        self.assertAllClose(agent.mean_action(s), 0.5 + 0.5 * np.tanh(mean), atol=1e-6)
        self.assertGreater(abs(agent.mean_action(s) - 0.5), 1e-3)

    def test_z_is_that_of_the_epoch_and_changes_at_its_start_only(self):
        agent = reset_agent()
        fill(agent)
        agent.start_epoch(1)
        z = agent.state_dict()["z"]
        agent.learn()
        self.assertAllEqual(agent.state_dict()["z"], z)
        agent.start_epoch(1)
        self.assertGreater(np.abs(agent.state_dict()["z"] - z).max(), 0)

    def test_without_environment_model_the_agent_sees_s_alone(self):
        agent = reset_agent(use_environment_model=False)
        fill(agent)
        agent.start_epoch(0)
        self.assertBetween(agent.act(np.zeros(9)), 0, 1)
        self.assertEqual(set(agent.learn()), {"critic_loss", "actor_loss"})
        state = agent.state_dict()
        self.assertEqual(state["actor/00"].shape, (9, 16))
        self.assertEqual(part(state, "environment"), [])

    def test_one_seed_one_behaviour(self):
        one, same, other = (make_agent(seed, use_environment_model=False) for seed in (1, 1, 2))
        for agent in (one, same, other):
            agent.start_epoch(0)
        actions = [[agent.act(np.zeros(9)) for _ in range(3)] for agent in (one, same, other)]
        self.assertEqual(actions[0], actions[1])
        self.assertNotEqual(actions[0], actions[2])
        self.assertLen(set(actions[0]), 3)
        for name, value in one.state_dict().items():
            self.assertAllEqual(value, same.state_dict()[name])


class FirstPolicyTest(tf.test.TestCase):
    def test_the_policy_begins_around_the_action_that_is_given_whatever_the_state(self):
        agent = make_agent(first_action=0.35, first_policy="uniform", use_environment_model=False)
        agent.start_epoch(0)
        for state in (np.zeros(9), np.full(9, 0.5), np.ones(9)):
            self.assertAllClose(agent.mean_action(state), 0.35, atol=0.01)
        actions = np.array([agent.act(np.full(9, 0.5)) for _ in range(400)])
        # d(0.5 + 0.5 tanh x) / dx is 2 a (1 - a) at the action a: 0.455, times the deviation 0.3 of x.
        self.assertAllClose(actions.std(), 2 * 0.35 * 0.65 * 0.3, rtol=0.12)
        self.assertAllClose(actions.mean(), 0.35, atol=0.03)

    def test_the_deviation_is_a_setting(self):
        spreads = []
        for deviation in (0.1, 0.4):
            agent = make_agent(first_policy="uniform", first_deviation=deviation, use_environment_model=False)
            agent.start_epoch(0)
            spreads.append(np.std([agent.act(np.zeros(9)) for _ in range(200)]))
        self.assertAllClose(spreads[0], 0.05, rtol=0.15)
        self.assertBetween(spreads[1] / spreads[0], 3, 4.2)

    def test_an_action_at_the_end_of_the_interval_is_taken_a_little_inside(self):
        agent = make_agent(first_action=1.0, first_policy="uniform", use_environment_model=False)
        agent.start_epoch(0)
        self.assertAllClose(agent.mean_action(np.zeros(9)), 0.99, atol=0.002)


class RewardScaleTest(tf.test.TestCase):
    def learned(self, rewards, **settings):
        """The losses of one update, and the agent's state after it."""
        agent = reset_agent(use_environment_model=False, **settings)
        rng = np.random.default_rng(0)
        for reward in rewards:
            agent.remember(rng.random([4, 9]), rng.random(4), reward, 0)
        losses = agent.learn()
        return losses, agent.state_dict()

    def test_with_standardised_rewards_their_mean_and_spread_do_not_matter(self):
        """0.25 and 0.75 have mean 0.5 and spread 0.25; 7.75 and 9.25 have 8.5 and 0.75: -1 and 1, both exactly."""
        rewards = np.array([0.25, 0.75, 0.75, 0.25])
        losses, state = self.learned(rewards, standardise_rewards=True)
        same, same_state = self.learned(7 + 3 * rewards, standardise_rewards=True)
        self.assertEqual(losses, same)
        for name in state:
            if name != "buffer/rewards":
                self.assertAllEqual(state[name], same_state[name], msg=name)
        self.assertEqual(self.learned([-1, 1, 1, -1])[0], losses)
        self.assertNotAllClose(self.learned(7 + 3 * rewards)[0]["critic_loss"], losses["critic_loss"])

    def test_equal_rewards_are_all_zero(self):
        self.assertEqual(self.learned([0.5] * 4, standardise_rewards=True)[0], self.learned([0.0] * 4)[0])

    def test_updates_follow_the_episodes_where_no_number_is_set(self):
        agent = reset_agent(use_environment_model=False)
        fill(agent)
        counted = []
        for episodes in (1, 3):
            before = agent.state_dict()["counters"][3]
            agent.learn_from(episodes)
            counted.append(agent.state_dict()["counters"][3] - before)
        self.assertEqual(counted, [UPDATES_PER_EPISODE, 3 * UPDATES_PER_EPISODE])
        self.assertEqual(UPDATES_PER_EPISODE, 12)


class LearnTest(tf.test.TestCase):
    def test_one_update_moves_every_variable(self):
        agent = reset_agent()
        fill(agent, epochs=(0, 2))
        before = agent.state_dict()
        losses = agent.learn()
        after = agent.state_dict()
        self.assertEqual(set(losses), {"critic_loss", "actor_loss", "reconstruction_loss"})
        self.assertTrue(all(np.isfinite(loss) for loss in losses.values()))
        networks = ("actor", "critic_1", "critic_2", "target_critic_1", "target_critic_2", "environment")
        optimizers = ("actor_optimizer", "critic_optimizer")  # their slots hold the gradients
        for name in networks + optimizers:
            for index, (old, new) in enumerate(zip(part(before, name), part(after, name), strict=True)):
                if name == "environment" and index == 11:  # Adam's learning rate
                    self.assertAllClose(new, 1e-3)
                    continue
                self.assertTrue(np.isfinite(new).all(), f"{name} {index}")
                self.assertGreater(np.abs(new - old).max(), 0, f"{name} {index}")
        embeddings = np.abs(after["environment/00"] - before["environment/00"]).max(axis=1) > 0
        self.assertAllEqual(embeddings, [True, True, True, False, False, False])  # the batch holds epochs 0 and 2

    def test_targets_follow_slowly(self):
        agent = reset_agent(tau=0.25, use_environment_model=False)
        fill(agent)
        before = agent.state_dict()
        agent.learn()
        after = agent.state_dict()
        for index in (1, 2):
            targets, critics = part(before, f"target_critic_{index}"), part(after, f"critic_{index}")
            for target, critic, new in zip(targets, critics, part(after, f"target_critic_{index}"), strict=True):
                self.assertAllClose(new, 0.75 * target + 0.25 * critic, atol=1e-7)

    def test_the_critics_regress_to_the_reward_at_the_last_step(self):
        # With episodes of one step d = 1, and the target of Equation (8) is the reward alone.
        agent = reset_agent(gamma=0.5, entropy_coefficient=1e-6, batch_size=64)
        state = np.random.default_rng(0).random([1, 9]).astype("float32")
        agent.remember(state, np.array([0.3]), reward=0.7, epoch=2)
        agent.start_epoch(2)  # for z
        before = agent.state_dict()
        x = np.concatenate([state, before["z"][None], [[0.3]]], axis=1)
        expected = np.mean([(mlp(x, part(before, name)) - 0.7) ** 2 for name in ("critic_1", "critic_2")])
        self.assertAllClose(agent.learn()["critic_loss"], expected, rtol=1e-5)

    def test_before_the_last_step_the_target_adds_the_smaller_q_of_the_next_state_and_z(self):
        # Critics that answer 0 at first, and targets made by hand that answer 100 z[0] + 5 and twice as much. The
        # batch has the first step k times, where Equation (8) gives 0.7 + 0.5 * (100 z[0] + 5), and the last 64 - k.
        agent = reset_agent(gamma=0.5, entropy_coefficient=1e-6, batch_size=64)
        agent.remember(np.zeros([2, 9]), np.array([0.3, 0.6]), reward=0.7, epoch=2)
        agent.start_epoch(2)
        state = {name: np.zeros_like(v) if "critic_" in name else v for name, v in agent.state_dict().items()}
        for name, scale in {"target_critic_1": 1, "target_critic_2": 2}.items():
            state[f"{name}/00"][9, 0], state[f"{name}/01"][0] = 100, 5
            state[f"{name}/02"][0, 0], state[f"{name}/04"][0, 0] = 1, scale
        agent.load_state_dict(state)
        first = 0.7 + 0.5 * (100 * state["z"][0] + 5)
        self.assertGreater(abs(100 * state["z"][0]), 0.1)  # or z would not show
        k = 64 * (agent.learn()["critic_loss"] - 0.7**2) / (first**2 - 0.7**2)
        self.assertAllClose(k, round(k), atol=1e-2)
        self.assertBetween(round(k), 16, 48)

    def test_the_entropy_coefficient_stays(self):
        agent = reset_agent()
        fill(agent)
        for _ in range(3):
            agent.learn()
        self.assertAllClose(np.exp(agent._sac._log_alpha.numpy()), 0.1)

    def test_an_epoch_of_learning_is_updates_per_epoch_updates_however_many_episodes(self):
        agent = reset_agent(updates_per_epoch=3, use_environment_model=False)
        fill(agent)
        start = agent.state_dict()
        losses = [agent.learn() for _ in range(3)]
        actor = agent.state_dict()["actor/00"]
        agent.load_state_dict(start)
        self.assertAllClose(agent.learn_from(5)["critic_loss"], np.mean([loss["critic_loss"] for loss in losses]))
        self.assertAllEqual(agent.state_dict()["actor/00"], actor)

    def test_nothing_is_traced_twice(self):
        agent = reset_agent()
        for epoch in range(6):
            agent.start_epoch(epoch)
            for _episode in range(2):
                agent.act(np.zeros(9))
                agent.mean_action(np.zeros(9))
            fill(agent, epochs=(epoch,), steps=2 + epoch, episodes=1)
            agent.learn()
        self.assertEqual(agent.traces, {"representation": 1, "sampled_action": 1, "mean_action": 1, "update": 1})

    def test_functions_that_run_eagerly_change_nothing(self):
        def lived(agent):
            agent.start_epoch(2)
            fill(agent)
            losses = agent.learn()
            return [*losses.values(), agent.act(np.full(9, 0.5)), agent.mean_action(np.full(9, 0.5))]

        expected = lived(reset_agent())
        tf.config.run_functions_eagerly(True)
        try:
            agent = make_agent()
            received = lived(agent)
        finally:
            tf.config.run_functions_eagerly(False)
        self.assertAllClose(received, expected, rtol=1e-5, atol=1e-7)
        self.assertEqual(agent.traces, {"representation": 1, "sampled_action": 1, "mean_action": 1, "update": 1})


class StateTest(tf.test.TestCase):
    def assert_same_future(self, one, other):
        """Acts, remembers and learns with both, and compares everything bit for bit."""
        futures = []
        for agent in (one, other):
            actions = [agent.act(np.full(9, 0.1 * i)) for i in range(3)]
            losses = [agent.learn() for _ in range(3)]
            agent.start_epoch(3)
            actions += [agent.act(np.zeros(9)), agent.mean_action(np.zeros(9))]
            fill(agent, epochs=(3,), seed=9)
            losses.append(agent.learn())
            futures.append((actions, losses, agent.state_dict()))
        (actions, losses, state), (other_actions, other_losses, other_state) = futures
        self.assertEqual(actions, other_actions)
        self.assertEqual(losses, other_losses)
        self.assertEqual(set(state), set(other_state))
        for name in state:
            self.assertAllEqual(state[name], other_state[name], msg=name)

    def test_continues_bit_for_bit_through_a_file(self):
        for settings in ({"buffer_capacity": 17}, {"use_environment_model": False}):  # 17: wraps around
            with self.subTest(settings=settings):
                one = make_agent(seed=1, **settings)
                fill(one)
                one.start_epoch(2)
                one.act(np.zeros(9))
                one.learn()
                file = io.BytesIO()
                np.savez(file, **one.state_dict())
                file.seek(0)
                other = make_agent(seed=2, **settings)
                other.load_state_dict(dict(np.load(file, allow_pickle=False)))
                self.assert_same_future(one, other)

    def test_a_state_is_a_copy(self):
        agent = reset_agent()
        fill(agent)
        state = agent.state_dict()
        before = {name: value.copy() for name, value in state.items()}
        agent.learn()
        fill(agent, seed=1)
        for name in state:
            self.assertAllEqual(state[name], before[name])

    def test_every_variable_of_sac_is_in_the_state(self):
        agent = reset_agent()
        saved = {id(variable) for variable in agent._variables().values()}
        left_out = [variable for variable in agent._sac.variables if id(variable) not in saved]
        # The entropy coefficient and a counter of tf-agents' that a period of 1 never counts.
        self.assertEqual(
            sorted(variable.name.split("/")[-1] for variable in left_out), ["counter:0", "initial_log_alpha:0"]
        )

    def test_refuses_the_state_of_another_agent(self):
        agent = reset_agent()
        fill(agent)
        start = agent.state_dict()
        broken = {
            "actor/00": reset_agent(use_environment_model=False).state_dict(),
            "environment/00": start | {"environment/00": np.zeros([7, 128])},
            "counters": {name: value for name, value in start.items() if name != "counters"},
            "more": start | {"more": np.zeros(1)},
            "cursor=1": start | {"buffer/cursor": np.array(1)},
        }
        for name, state in broken.items():
            with self.subTest(name=name), self.assertRaisesRegex(ValueError, f"{name}.*Make the"):
                agent.load_state_dict(state)
        for name, value in agent.state_dict().items():
            self.assertAllEqual(value, start[name])


class SurroundingsTest(tf.test.TestCase):
    def test_no_global_random_state_is_read_or_changed(self):
        def draws(with_agent):
            keras.utils.set_random_seed(7)
            generator = tf.random.get_global_generator().state.numpy()
            if with_agent:
                agent = make_agent()
                fill(agent)
                agent.start_epoch(0)
                agent.act(np.zeros(9))
                agent.learn()
            self.assertAllEqual(tf.random.get_global_generator().state, generator)
            uniform = (tf.random.uniform([]), keras.random.uniform([]))
            return [random.random(), np.random.random(), *(float(value) for value in uniform)]

        self.assertEqual(draws(with_agent=True), draws(with_agent=False))

    def test_tf_keras_is_still_keras_3_after_training(self):
        agent = reset_agent()
        fill(agent)
        agent.learn()
        self.assertIs(tf.keras.Model, keras.Model)


class BadInputTest(tf.test.TestCase):
    def test_settings(self):
        for name, value in {
            "actor_learning_rate": 0.0,
            "environment_learning_rate": float("nan"),
            "entropy_coefficient": 0.0,
            "gamma": 1.1,
            "tau": 0.0,
            "batch_size": 0,
            "updates_per_epoch": 0,
            "first_policy": "even",
            "first_deviation": 0.0,
            "hidden": (300, 0),
        }.items():
            with self.subTest(name=name), self.assertRaisesRegex(ValueError, f"Received: {name}="):
                AgentSettings(**{name: value})

    def test_a_deviation_of_a_policy_that_has_its_own(self):
        with self.assertRaisesRegex(ValueError, "first_deviation.*with first_policy='middle'"):
            AgentSettings(first_policy="middle", first_deviation=0.5)

    def test_calls(self):
        agent = reset_agent()
        with self.assertRaisesRegex(ValueError, "start_epoch"):
            agent.act(np.zeros(9))
        with self.assertRaisesRegex(ValueError, "empty"):
            agent.learn()
        with self.assertRaisesRegex(ValueError, "epoch=6"):
            agent.start_epoch(6)
        agent.start_epoch(0)
        with self.assertRaisesRegex(ValueError, r"shape=\(8,\)"):
            agent.act(np.zeros(8))
        nan = float("nan")
        for states, actions, reward, epoch in (
            (np.zeros([2, 9]), [0.5, 0.5], nan, 0),
            (np.full([2, 9], nan), [0.5, 0.5], 0.5, 0),
            (np.zeros([2, 9]), [0.5, 1.01], 0.5, 0),
            (np.zeros([2, 9]), [0.5, nan], 0.5, 0),
            (np.zeros([2, 9]), [0.5, 0.5], 0.5, -1),
        ):
            with self.assertRaisesRegex(ValueError, "Received"):
                agent.remember(states, actions, reward, epoch)
        self.assertEqual(agent.transitions, 0)
