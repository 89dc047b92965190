"""Learners of REINFORCE as tests want them, and what their policies give, by hand."""

import functools

import numpy as np

from tfcompress.agents import ReinforceSettings, RemovalLearner, Rollout, ShrinkageLearner

FEATURES = ("kind", "place")
SHARES = (0.25, 0.5, 0.75, 1.0)
LENGTHS = {RemovalLearner: 18, ShrinkageLearner: 12}


def make_learner(kind, seed=0, length=None, settings=None, **more):
    more = ({"shares": SHARES} if kind is ShrinkageLearner else {}) | more
    return kind(FEATURES, length or LENGTHS[kind], settings, seed=seed, **more)


@functools.cache
def learner_and_its_start(kind):
    learner = make_learner(kind)
    return learner, learner.state_dict()


def reset_learner(kind, seed=0):
    """A learner as good as new. Most tests share one of a kind: to compile it takes longer than all they do with it."""
    learner, start = learner_and_its_start(kind)
    learner.load_state_dict(make_learner(kind, seed).state_dict() if seed else start)
    return learner


def change(learner, **parts):
    """Puts other arrays in the place of a part of the state; a part is a list of arrays."""
    names = {name: sorted(key for key in learner.state_dict() if key.startswith(name + "/")) for name in parts}
    changed = {key: value for name in parts for key, value in zip(names[name], parts[name], strict=True)}
    learner.load_state_dict(learner.state_dict() | changed)


def part(learner, name):
    return [value for key, value in sorted(learner.state_dict().items()) if key.startswith(name + "/")]


def draw_large_weights(learner, seed=3):
    """Weights that make a policy that is far from uniform."""
    rng = np.random.default_rng(seed)
    change(learner, actor=[rng.normal(0, 0.4, value.shape) for value in part(learner, "actor")])


def random_sequence(steps, seed=0):
    return np.random.default_rng(seed).normal(size=[steps, 2])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, kernel, recurrent_kernel, bias):
    """The outputs `[steps, units]` of an LSTM by hand, for one sequence `[steps, inputs]`."""
    h = c = np.zeros(len(recurrent_kernel))
    outputs = []
    for step in x:
        i, f, g, o = np.split(step @ kernel + h @ recurrent_kernel + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def removal_log_probabilities(learner, sequence):
    """Log-probabilities `[steps, 2]` of keeping and removing, by hand."""
    weights, x = part(learner, "actor"), sequence
    for layer in range(2):
        forward, backward = (weights[start : start + 3] for start in (3 * layer, 6 + 3 * layer))
        x = np.concatenate([lstm(x, *forward), lstm(x[::-1], *backward)[::-1]], axis=1)
    return log_softmax(x @ weights[12] + weights[13])


def shrinkage_log_probabilities(learner, inputs):
    """Log-probabilities `[steps, shares]` by hand, of inputs in which the actions before are."""
    weights = part(learner, "actor")
    hidden = lstm(lstm(inputs, *weights[:3]), *weights[3:6])
    return log_softmax(hidden @ weights[6] + weights[7])


def rollout_with(learner, sequence, classes, allowed=None):
    classes = np.array(classes, "int32")
    allowed = np.ones(len(classes), bool) if allowed is None else np.array(allowed)
    return Rollout(sequence, allowed, classes, learner._actions(classes))


@functools.cache
def small_learners(kind):
    """Two compiled learners with one seed and a value network."""
    settings = ReinforceSettings(units=3, layers=1, learning_rate=0.1, actor_critic=True)
    pair = [make_learner(kind, seed=1, settings=settings, length=4) for _ in range(2)]
    return *pair, pair[0].state_dict()
