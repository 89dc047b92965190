import functools
import io
import random

import keras
import numpy as np
import tensorflow as tf

from tfcompress.agents.ddpg import DdpgAgent, DdpgSettings, truncated_normal

# Small, so that most of a test's time is not spent on multiplications.
SMALL = {"hidden": (16, 16), "batch_size": 8, "buffer_capacity": 100}


def make_agent(seed=0, exploring=2, **settings):
    return DdpgAgent(state_size=3, exploring=exploring, settings=DdpgSettings(**(SMALL | settings)), seed=seed)


@functools.cache
def agent_and_its_start(settings):
    agent = make_agent(**dict(settings))
    return agent, agent.state_dict()


def reset_agent(**settings):
    """An agent as good as new. Most tests share one: to compile it takes longer than all that they do with it."""
    agent, start = agent_and_its_start(tuple(sorted(settings.items())))
    agent.load_state_dict(start)
    return agent


def fill(agent, episodes=3, steps=4, seed=0):
    """Remembers random episodes."""
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        agent.remember(rng.random([steps, 3]), rng.random(steps), rng.random())


def part(state, name):
    """The arrays of one part of an agent's state, in order."""
    return [value for key, value in sorted(state.items()) if key.startswith(name + "/")]


def mlp(x, weights):
    """A network of ReLU layers by hand; the last one is linear."""
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = np.maximum(x @ kernel + bias, 0)
    return (x @ weights[-2] + weights[-1])[:, 0]


def answering(agent, seed=0):
    """Gives the agent last layers that are not near zero, or every policy would answer 0.5 and every critic 0."""
    state = agent.state_dict()
    rng = np.random.default_rng(seed)
    for name in ("actor", "critic", "target_actor", "target_critic"):
        state[f"{name}/04"] = rng.uniform(-1, 1, state[f"{name}/04"].shape).astype("float32")
    agent.load_state_dict(state)
    return agent.state_dict()


class ExplorationTest(tf.test.TestCase):
    def test_the_truncated_normal_against_the_numerical_inverse(self):
        """Its density by the trapezoidal rule, on [0, 1] alone."""
        places = np.linspace(0, 1, 100_001)
        for mean, deviation in ((0.5, 0.5), (0.0, 0.5), (0.9, 0.1), (1.0, 0.02)):
            density = np.exp(-0.5 * ((places - mean) / deviation) ** 2)
            below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
            for quantile in (0.0, 0.1, 0.5, 0.77, 0.999):
                expected = np.interp(quantile * below[-1], below, places)
                if quantile:
                    self.assertAllClose(truncated_normal(mean, deviation, quantile), expected, atol=1e-4)

    def test_it_stays_in_the_interval_whatever_the_policy_says(self):
        for mean in (0.0, 1e-9, 0.3, 1 - 1e-9, 1.0):
            for deviation in (0.0, 1e-12, 1e-3, 0.5, 1e6):
                draws = [truncated_normal(mean, deviation, q) for q in (0.0, 1e-17, 0.25, 0.75, 1 - 2**-53)]
                self.assertAllInRange(draws, 0.0, 1.0)
                self.assertEqual(draws, sorted(draws))
                if deviation <= 1e-12:
                    self.assertAllClose(draws, np.full(5, mean), atol=1e-9)

    def test_actions_fill_the_interval_around_the_policy(self):
        """Of a normal with mean and deviation 0.5, truncated one deviation away on both sides: 0.5 * 0.5396."""
        agent = reset_agent()
        actions = np.array([agent.act(np.full(3, 0.5)) for _ in range(400)])
        self.assertAllInRange(actions, 0.0, 1.0)
        self.assertAllClose(actions.mean(), agent.mean_action(np.full(3, 0.5)), atol=0.04)
        self.assertAllClose(actions.std(), 0.2698, atol=0.03)

    def test_sigma_is_constant_and_then_falls_by_a_factor_an_episode(self):
        """Two episodes with 0.5; the third is the first after it has decayed."""
        agent = reset_agent()
        sigmas = []
        for _ in range(5):
            sigmas.append(agent.sigma)
            fill(agent, episodes=1)
        self.assertAllClose(sigmas, [0.5, 0.5, 0.495, 0.49005, 0.4851495], rtol=1e-12)

    def test_the_policy_is_the_squashed_output_of_its_network(self):
        agent = reset_agent()
        state = answering(agent)
        s = np.array([0.2, 0.9, 0.4], "float32")
        expected = 0.5 + 0.5 * np.tanh(mlp(s[None], part(state, "actor"))[0])
        self.assertAllClose(agent.mean_action(s), expected, atol=1e-6)
        self.assertGreater(abs(expected - 0.5), 1e-2)


class LearnTest(tf.test.TestCase):
    def test_the_baseline_is_a_moving_average(self):
        """b = 0.2 at first; 0.75 * 0.2 + 0.25 * 0.6 = 0.3; 0.75 * 0.3 - 0.25 * 0.1 = 0.2."""
        agent = reset_agent(baseline_decay=0.75)
        baselines = [agent.baseline]
        for reward in (0.2, 0.6, -0.1):
            agent.remember(np.zeros([2, 3]), np.zeros(2), reward)
            baselines.append(agent.baseline)
        self.assertAllClose(baselines, [0.0, 0.2, 0.3, 0.2], rtol=1e-12)

    def test_the_target_of_the_last_step_is_the_reward_less_the_baseline(self):
        """Two episodes of one step each in one state: b is 0.95 * 0.8 + 0.05 * 0.2 = 0.77 for both of them."""
        agent = reset_agent(batch_size=64)
        state = answering(agent)
        s = np.array([[0.1, 0.5, 0.7]], "float32")
        for action, reward in ((0.3, 0.8), (0.6, 0.2)):
            agent.remember(s, np.array([action]), reward)
        answers = [mlp(np.array([[*s[0], action]]), part(state, "critic"))[0] for action in (0.3, 0.6)]
        errors = [(answers[0] - (0.8 - 0.77)) ** 2, (answers[1] - (0.2 - 0.77)) ** 2]
        k = (64 * agent.learn()["critic_loss"] - 64 * errors[1]) / (errors[0] - errors[1])
        self.assertAllClose(k, round(k), atol=1e-2)  # the batch has the first of them k times
        self.assertBetween(round(k), 16, 48)

    def test_before_the_last_step_the_targets_answer_for_the_next_state_is_added_whole(self):
        """gamma is 1. The batch has the first of two steps k times, and the last 64 - k times."""
        agent = reset_agent(batch_size=64)
        state = answering(agent, seed=1)
        states, actions = np.array([[0.1, 0.5, 0.7], [0.9, 0.2, 0.3]], "float32"), np.array([0.3, 0.6], "float32")
        agent.remember(states, actions, 0.7)  # b is 0.7: R - b is 0
        first, last = mlp(np.column_stack([states, actions]), part(state, "critic"))
        following = 0.5 + 0.5 * np.tanh(mlp(states[1:], part(state, "target_actor")))
        target = mlp(np.column_stack([states[1:], following]), part(state, "target_critic"))[0]
        k = 64 * (agent.learn()["critic_loss"] - last**2) / ((first - target) ** 2 - last**2)
        self.assertAllClose(k, round(k), atol=1e-2)
        self.assertBetween(round(k), 16, 48)

    def test_one_update_moves_every_variable_and_gives_every_weight_a_gradient(self):
        agent = reset_agent()
        fill(agent)
        before = answering(agent)
        losses = agent.learn()
        after = agent.state_dict()
        self.assertTrue(all(np.isfinite(loss) for loss in losses.values()))
        names = ("actor", "critic", "target_actor", "target_critic", "actor_optimizer", "critic_optimizer")
        for name in names:
            for index, (old, new) in enumerate(zip(part(before, name), part(after, name), strict=True)):
                self.assertTrue(np.isfinite(new).all(), f"{name} {index}")
                self.assertGreater(np.abs(new - old).max(), 0, f"{name} {index}")
        # Adam's first moments are a tenth of the gradients: no kernel and no bias is without one.
        for name in ("actor", "critic"):
            moments = part(after, f"{name}_optimizer")[1:7]
            self.assertEqual([moment.shape for moment in moments], [weight.shape for weight in part(after, name)])
            for index, moment in enumerate(moments):
                self.assertGreater(np.abs(moment).max(), 0, f"{name} {index}")

    def test_targets_follow_slowly(self):
        agent = reset_agent(tau=0.25)
        fill(agent)
        before = agent.state_dict()
        agent.learn()
        after = agent.state_dict()
        for name in ("actor", "critic"):
            targets, news = part(before, f"target_{name}"), part(after, f"target_{name}")
            for target, network, new in zip(targets, part(after, name), news, strict=True):
                self.assertAllClose(new, 0.75 * target + 0.25 * network, atol=1e-7)

    def test_an_episode_of_learning_is_an_update_for_each_step(self):
        agent = reset_agent()
        fill(agent)
        start = agent.state_dict()
        losses = [agent.learn() for _ in range(3)]
        actor = agent.state_dict()["actor/00"]
        agent.load_state_dict(start)
        self.assertAllClose(agent.learn_episode(3)["critic_loss"], np.mean([loss["critic_loss"] for loss in losses]))
        self.assertAllEqual(agent.state_dict()["actor/00"], actor)

    def test_learning_moves_the_action_towards_the_rewarded_one(self):
        """In one state high rates are rewarded, in the other low ones."""
        states = {0.85: np.array([1.0, 0.0, 0.5]), 0.15: np.array([0.0, 1.0, 0.5])}
        for seed in range(3):
            agent = make_agent(seed, exploring=20, actor_learning_rate=3e-3, critic_learning_rate=3e-3, batch_size=32)
            before = {best: agent.mean_action(state) for best, state in states.items()}
            for _ in range(60):
                for best, state in states.items():
                    action = agent.act(state)
                    agent.remember(state[None], np.array([action]), -((action - best) ** 2))
                    if agent.episodes > 20:
                        agent.learn_episode(2)
            for best, state in states.items():
                with self.subTest(seed=seed, best=best):
                    self.assertLess(abs(agent.mean_action(state) - best), 0.15)
                    self.assertLess(abs(agent.mean_action(state) - best), 0.5 * abs(before[best] - best))

    def test_nothing_is_traced_twice(self):
        agent = reset_agent()
        for steps in (2, 3, 5):
            agent.act(np.zeros(3))
            fill(agent, steps=steps, episodes=1)
            agent.learn()
        self.assertEqual(agent.traces, {"action": 1, "update": 1})


class StateTest(tf.test.TestCase):
    def futures(self, agent):
        """Acts, remembers and learns; returns everything that can be seen."""
        actions = [agent.act(np.full(3, 0.1 * i)) for i in range(3)]
        losses = [agent.learn() for _ in range(2)]
        fill(agent, episodes=1, seed=9)
        losses.append(agent.learn())
        return [*actions, agent.act(np.zeros(3)), agent.sigma, agent.baseline], losses, agent.state_dict()

    def test_continues_bit_for_bit_through_a_file(self):
        agent, other = make_agent(seed=1, buffer_capacity=17), make_agent(seed=2, buffer_capacity=17)  # wraps around
        fill(agent, episodes=5)
        agent.act(np.zeros(3))
        agent.learn()
        file = io.BytesIO()
        np.savez(file, **agent.state_dict())
        file.seek(0)
        other.load_state_dict(dict(np.load(file, allow_pickle=False)))
        (actions, losses, state), (other_actions, other_losses, other_state) = map(self.futures, (agent, other))
        self.assertEqual(actions, other_actions)
        self.assertEqual(losses, other_losses)
        self.assertEqual(set(state), set(other_state))
        for name in state:
            self.assertAllEqual(state[name], other_state[name], msg=name)

    def test_one_seed_one_behaviour(self):
        agents = [reset_agent(), make_agent(0), make_agent(2)]
        for agent in agents:
            fill(agent)
        first, same, other = map(self.futures, agents)
        self.assertEqual(first[:2], same[:2])
        self.assertNotEqual(first[0], other[0])
        for name, value in first[2].items():
            self.assertAllEqual(value, same[2][name])

    def test_every_variable_of_ddpg_is_in_the_state(self):
        agent = reset_agent()
        saved = {id(variable) for variable in agent._variables().values()}
        left_out = [variable for variable in agent._ddpg.variables if id(variable) not in saved]
        # A counter of tf-agents' that a period of 1 never counts.
        self.assertEqual([variable.name.split("/")[-1] for variable in left_out], ["counter:0"])

    def test_refuses_the_state_of_another_agent(self):
        agent = reset_agent()
        fill(agent)
        start = agent.state_dict()
        for name, state in {
            "actor/00": start | {"actor/00": np.zeros([4, 16])},
            "counters": {name: value for name, value in start.items() if name != "counters"},
            "cursor=1": start | {"buffer/cursor": np.array(1)},
        }.items():
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
                agent.act(np.zeros(3))
                agent.learn()
            self.assertAllEqual(tf.random.get_global_generator().state, generator)
            uniform = (tf.random.uniform([]), keras.random.uniform([]))
            return [random.random(), np.random.random(), *(float(value) for value in uniform)]

        self.assertEqual(draws(with_agent=True), draws(with_agent=False))
        self.assertIs(tf.keras.Model, keras.Model)

    def test_refused_calls(self):
        agent = reset_agent()
        with self.assertRaisesRegex(ValueError, "empty"):
            agent.learn()
        with self.assertRaisesRegex(ValueError, r"shape=\(4,\)"):
            agent.act(np.zeros(4))
        nan = float("nan")
        for states, actions, reward in (
            (np.zeros([2, 3]), [0.5, 0.5], nan),
            (np.full([2, 3], nan), [0.5, 0.5], 0.5),
            (np.zeros([2, 3]), [0.5, 1.01], 0.5),
            (np.zeros([2, 3]), [0.5], 0.5),
        ):
            with self.assertRaisesRegex(ValueError, "Received"):
                agent.remember(states, np.array(actions), reward)
        self.assertEqual((agent.episodes, agent.transitions), (0, 0))


if __name__ == "__main__":
    tf.test.main()
