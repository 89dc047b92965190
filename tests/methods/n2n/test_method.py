"""N2N as a whole: students are scored once, the budget is held, an interrupted search goes on, policies are handed on."""

import json
from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks
from keras import layers

import tfcompress
from tfcompress.agents.reinforce import RemovalLearner
from tfcompress.costs import cost
from tfcompress.methods import N2N
from tfcompress.methods.n2n.random_draws import RandomDraws
from tfcompress.methods.n2n.students import Students
from tfcompress.plan import Trail
from tfcompress.rewrite import replay

SHORT = {"updates": 2, "rollouts": 2, "score_epochs": 1, "epochs": 1, "batch_size": 32}


def run(folder=None, **settings):
    budget = {name: settings.pop(name) for name in ("params_budget", "flops_budget") if name in settings}
    method = N2N(**{**SHORT, **settings})
    model = small_tasks.trained_block()
    return tfcompress.compress(model, method, small_tasks.pictures(96), seed=0, verbose=0, run_dir=folder, **budget)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A run of both stages in a folder, with the names of the students that were trained."""
    folder, trained, real = tmp_path_factory.mktemp("n2n") / "run", [], Students.trained

    def counted(self, network, plan, trail, strict):
        trained.append(trail)
        return real(self, network, plan, trail, strict)

    with mock.patch.object(Students, "trained", counted):
        result = run(folder, params_budget=0.5)
    return result, folder, trained


def test_the_budget_is_held_and_the_trail_leads_to_the_model(both):
    result, _, _ = both
    original = small_tasks.trained_block()
    assert cost(result.model).params <= cost(original).params // 2
    assert cost(replay(original, result.trail)) == cost(result.model)
    assert result.trail.plans[0].weights == "fresh"
    assert len(result.trail) == 2


def test_every_student_is_in_the_history_and_the_best_of_each_stage_a_candidate(both):
    result, _, _ = both
    history = {name.removeprefix("students: "): values for name, values in result.history["search"].items()}
    assert {len(values) for values in history.values()} == {8}  # 2 stages, 2 updates, 2 rollouts
    assert history["stage"] == ["removal"] * 4 + ["shrinkage"] * 4
    assert [candidate.origin for candidate in result.candidates] == ["best of removal", "best of shrinkage"]
    for candidate in result.candidates:
        assert cost(candidate.model) == candidate.cost
    total, before = cost(small_tasks.trained_block()).params, result.before.accuracy
    for stage, params, accuracy, value, text in zip(
        *(history[name] for name in ("stage", "params", "accuracy", "reward", "trail")), strict=True
    ):
        over = stage == "shrinkage" and params > total // 2
        assert len(Trail.from_json(text)) <= 2
        if accuracy is None or over:
            assert value == -1
        else:
            compression = 1 - params / total
            assert value == pytest.approx(compression * (2 - compression) * accuracy / before)


def test_equal_students_are_scored_once_and_a_search_goes_on_where_it_was(both):
    _, folder, trained = both
    assert len(trained) == len(set(trained))
    again, scores = (
        mock.Mock(side_effect=AssertionError("scored again")),
        json.loads((folder / "students.json").read_text()),
    )
    assert len(scores["content"]) >= len(trained)
    with mock.patch.object(Students, "degenerate", again):  # the result is there: nothing is played any more
        run(folder, params_budget=0.5)


def test_an_interrupted_search_ends_as_the_uninterrupted_one(both, tmp_path):
    result, _, _ = both
    real, left = Students.score, [5]

    def dying(self, *args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    with mock.patch.object(Students, "score", dying), pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", params_budget=0.5)
    resumed = run(tmp_path / "run", params_budget=0.5)
    ours, theirs = resumed.history["search"], result.history["search"]
    for name in ours:
        if not name.endswith("seconds"):
            assert ours[name] == theirs[name]
    for new, old in zip(resumed.model.get_weights(), result.model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-5)


def test_a_policy_starts_another_search(both):
    _, folder, _ = both
    started = []
    real = RemovalLearner.load
    with mock.patch.object(RemovalLearner, "load", lambda self, path: started.append(path) or real(self, path)):
        run(stage="removal", updates=1, rollouts=1, policies=str(folder / "policies"))
    assert {name.rsplit("/", 1)[1] for name in started} == {"removal"}  # checked, then started from
    with pytest.raises(ValueError, match="policy"):
        run(stage="removal", updates=1, policies=str(folder / "nothing"))


def test_without_a_budget_the_reward_alone_decides_and_weights_may_be_inherited():
    result = run(stage="shrinkage", updates=1, rollouts=1, inherit=True)
    assert cost(result.model).params < cost(small_tasks.trained_block()).params
    assert len(result.trail) == 1


def test_random_students_need_no_policy_and_every_action_is_as_likely():
    draws = RandomDraws(4, (0.5, 1.0), np.random.default_rng(0)).rollouts(400)
    shares = np.mean([draw.actions == 0.5 for draw in draws], axis=0)
    assert abs(shares - 0.5).max() < 0.1  # four deviations of a share of 400
    n2n = "tfcompress.methods.n2n."
    with mock.patch(n2n + "method.load_tf_agents", None), mock.patch(n2n + "policies.RemovalLearner", None):
        results = [run(random=True, params_budget=0.5, updates=1, epochs=0) for _ in range(2)]
    assert cost(results[0].model).params <= cost(small_tasks.trained_block()).params // 2
    trails = [result.history["search"]["students: trail"] for result in results]
    assert trails[0] == trails[1]
    assert len(set(trails[0])) > 1
    with pytest.raises(ValueError, match="Expected neither policies nor actor_critic"):
        N2N(random=True, policies="folder")


def test_what_is_refused():
    x, y = small_tasks.pictures(40)
    inputs = keras.Input((8, 8, 1))
    small = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(inputs)))
    small.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"layers that may be removed.*stage='shrinkage'"):
        tfcompress.compress(small, N2N(**SHORT), (x, y), verbose=0)
    with pytest.raises(ValueError, match="kernels, paddings or outputs"):
        tfcompress.compress(small, N2N(**SHORT, stage="shrinkage"), (x, y), verbose=0)
    with pytest.raises(ValueError, match=r"Expected no exclude.*round_to"):
        tfcompress.compress(small_tasks.trained_block(), N2N(**SHORT), (x, y), round_to=2, verbose=0)
    with pytest.raises(ValueError, match=r"at least 0.*smallest kernels"):
        tfcompress.compress(small_tasks.trained_block(), N2N(**SHORT), (x, y), params_budget=0.001, verbose=0)
    wrong = np.full(len(y), 3)
    never = keras.models.clone_model(small_tasks.trained_block())
    never.get_layer("head").set_weights([np.zeros_like(w) for w in never.get_layer("head").get_weights()])
    never.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"above 0.*accuracy 0.0"):
        tfcompress.compress(never, N2N(**SHORT), (x, wrong), verbose=0)
    for settings in (
        {"stage": "first"},
        {"updates": 0},
        {"baseline_decay": 1},
        {"constraint": "soft"},
        {"soft_weight": 0},
    ):
        with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
            N2N(**settings)
