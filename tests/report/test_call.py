"""The call that repeats a run: carried out, it gives the method, budget and control that the result tells of."""

import types
from unittest import mock

import keras
import pytest
import shown_results

import tfcompress
from tfcompress import Budget, Control, importance
from tfcompress.methods import DARC, LIT, RLAL, Method, Uniform
from tfcompress.methods.rlal import AgentSettings
from tfcompress.report.call import call_of


def called(result):
    """The arguments of the call, which is carried out with another function in the place of `compress`."""
    made = []
    text = call_of(result)
    names = {"model": "the model", "data": "the data"}
    with mock.patch.object(tfcompress, "compress", lambda *args, **given: made.append((args, given)), create=True):
        exec(text, names)
    ((args, given),) = made
    assert (args[0], args[2]) == ("the model", "the data")
    return args[1], given, text


@pytest.mark.parametrize(
    "method",
    (
        Uniform(),
        Uniform(epochs=2, keep="last"),
        Uniform(criterion=importance.Taylor(samples=3)),
        RLAL(epochs=7, milestones=(3,), agent=AgentSettings(gamma=0.5, hidden=(20, 10))),
        RLAL.with_preset("fast", episodes=9),
        RLAL.as_published("resnet56-cifar10"),
        LIT(blocks=(1, 2), alpha=0.25),
        DARC.with_preset("fast"),
    ),
    ids=lambda method: type(method).__name__,
)
def test_methods(method):
    result = shown_results.with_fields(method=method.name, settings=method.settings())
    given, _, _ = called(result)
    assert (given if isinstance(given, Method) else type(method)()).settings() == method.settings()


def test_the_shortest_words_are_taken():
    texts = {
        preset: call_of(shown_results.with_fields(method="rlal", settings=RLAL.with_preset(preset).settings()))
        for preset in ("balanced", "fast")
    }
    assert "    'rlal',\n" in texts["balanced"]
    assert "    tfcompress.methods.RLAL.with_preset('fast'),\n" in texts["fast"]


def test_what_no_text_can_say_is_a_remark():
    student = shown_results.network("given")
    settings = LIT(student=student).settings()
    method, _, text = called(shown_results.with_fields(method="lit", settings=settings))
    assert method == "lit"
    assert "# student= was {'model': 'given'" in text
    own = Uniform(criterion=own_criterion).settings()
    with mock.patch.dict("sys.modules", {__name__: types.ModuleType(__name__)}):
        assert f"# criterion= was '{__name__}.own_criterion'" in call_of(shown_results.with_fields(settings=own))
    unknown = call_of(shown_results.with_fields(method="mine", settings={"depth": [1, 2]}))
    assert "    'mine',\n    # its settings: depth=(1, 2)\n" in unknown


def own_criterion(group, evidence):
    raise NotImplementedError


def test_budget_control_seed_and_data():
    budget = Budget({"bytes": 0.5}, flops=3000, params=0.25, latency=3)
    control = Control.of(
        [keras.layers.Dense, "stem"], "block*", {"stem": (0.1, 0.5), keras.layers.Conv2D: 0.25}, 8, True
    )
    notes = ("training: 72 images\nvalidation: 24 images", "loss mse; metric own, as given")
    result = shown_results.with_fields(budget=dict(budget), control=control.settings(), seed=9, notes=notes)
    _, given, text = called(result)
    limits = {"flops": given.pop("flops_budget"), "params": given.pop("params_budget")}
    assert Budget(given.pop("budget"), latency=given.pop("latency_budget"), **limits) == budget
    assert given.pop("seed") == 9
    assert Control.of(**given) == control
    assert "    # validation: 24 images\n" in text
    assert "    # objective= was given: loss mse; metric own, as given\n" in text
