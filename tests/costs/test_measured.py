"""Metrics that are measured: limits that are checked on the finished student, and planned by nothing."""

import math
from unittest import mock

import numpy as np
import pytest
import small_tasks
import teachers

import tfcompress
from tfcompress import Budget, Cost, Result, Trail, cost, workflow
from tfcompress.costs import LimitMissed, Metric, register_metric, registered_metrics, unregister_metric
from tfcompress.methods import LIT, RLAL, BornAgain, Candidate, Random, Scratch, Uniform
from tfcompress.plan import Plan
from tfcompress.result import Measured

METHOD = Uniform(epochs=0)


class Weighing:
    """Half a unit for every weight of the models that it is given, all of which it keeps."""

    def __init__(self):
        self.models = []

    def __call__(self, model):
        self.models.append(model)
        return model.count_params() / 2


@pytest.fixture(name="weighing")
def a_registered_measure():
    weighing = Weighing()
    register_metric("weight", measure=weighing, unit="grams")
    yield weighing
    unregister_metric("weight")


def compress(limit, folder):
    model, data = small_tasks.residual_network(activation="softmax"), small_tasks.pictures(32)
    return tfcompress.compress(model, METHOD, data, budget={"weight": limit, "macs": 0.5}, run_dir=folder, verbose=0)


def test_it_is_no_column_and_has_a_limit():
    register_metric("size", measure=len, unit="rooms")
    try:
        assert "size" in registered_metrics()
        assert cost(small_tasks.residual_network()).others == {}
        budget = Budget({"size": 0.3, "macs": 0.5})
    finally:
        unregister_metric("size")
    assert (budget.planned, budget.measured) == (("macs",), ("size",))
    assert budget.measure([0] * 7) == {"size": 7}
    assert budget.limits(Cost(100, 10, 40)) == {"macs": 50}
    assert budget.measured_limits({"size": 5.0}) == {"size": 1.5}
    budget.check_measured({"size": 5.0}, {"size": 1.5}, None)
    with pytest.raises(LimitMissed, match=r"at most 1\.5 rooms: budget\['size'\]=0\.3.*1\.6 rooms, 0\.3200 of .*macs"):
        budget.check_measured({"size": 5.0}, {"size": 1.6}, None)
    with pytest.raises(ValueError, match=r"absolute limit of 'size'.*budget\['size'\]=0\.3.*whole number of rooms"):
        budget.measured_limits({})


@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0, "3", None])
def test_what_is_no_cost_is_refused(number):
    with pytest.raises(ValueError, match=r"Expected `measure of 'size'` to be .*Received"):
        Metric("size", None, "rooms", lambda model: number).of(None)


def test_either_terms_or_a_measure():
    for given, received in (({}, "neither"), ({"terms": len, "measure": len}, "both")):
        with pytest.raises(ValueError, match=rf"either `terms`.*or `measure`.*Received: {received}"):
            register_metric("size", **given)
    with pytest.raises(TypeError, match=r"Expected `measure`.*Received"):
        register_metric("size", measure=3)


class TestCompress:
    def test_a_student_within_the_limit_is_the_result(self, weighing, tmp_path):
        result = compress(0.9, tmp_path / "run")
        before, after = (measured.measurements["weight"] for measured in (result.before, result.after))
        assert before == small_tasks.residual_network().count_params() / 2
        assert after == result.model.count_params() / 2
        assert any("weight is measured, not planned" in note and "0.9" in note for note in result.notes)
        assert f"{after:.4g}" in str(result)
        # Each model is a copy, not compiled.
        assert len(weighing.models) == 2
        assert weighing.models[1] is not result.model
        assert not any(model.compiled for model in weighing.models)
        assert Result.load(tmp_path / "run").after == result.after

    def test_a_student_above_the_limit_is_no_result(self, weighing, tmp_path):
        message = r"at most .* grams: budget\['weight'\]=0\.1.*less than budget\['macs'\]"
        with pytest.raises(LimitMissed, match=message) as caught:
            compress(0.1, tmp_path)
        assert not (tmp_path / "result").exists()
        student = caught.value.model
        assert caught.value.measured == {"weight": student.count_params() / 2}
        assert cost(student).macs <= cost(small_tasks.residual_network()).macs // 2

    def test_the_measurement_of_the_first_call_holds(self, tmp_path):
        numbers = iter([100.0, 60.0, 200.0, 60.0])  # of the original, its student; and once again
        register_metric("moody", measure=lambda model: next(numbers))
        model, data = small_tasks.residual_network(activation="softmax"), small_tasks.pictures(32)
        budget, method = {"moody": 0.5, "macs": 0.5}, Uniform(epochs=1, batch_size=32)
        try:
            for _ in range(2):
                with pytest.raises(LimitMissed, match=r"at most 50 moody.*60 moody, 0\.6000 of"):
                    tfcompress.compress(model, method, data, budget=budget, run_dir=tmp_path, verbose=0)
        finally:
            unregister_metric("moody")

    def test_a_function_that_does_not_work_shows_before_any_data_is_read(self):
        register_metric("broken", measure=lambda model: math.nan)
        try:
            model, budget = small_tasks.residual_network(activation="softmax"), {"broken": 0.5, "macs": 0.5}
            unread = mock.patch.object(workflow, "given_splits", side_effect=AssertionError)
            with unread, pytest.raises(ValueError, match="measure of 'broken'"):
                tfcompress.compress(model, METHOD, small_tasks.pictures(8), budget=budget)
        finally:
            unregister_metric("broken")

    @pytest.mark.parametrize("method", [Uniform(), Random(), RLAL(), LIT()], ids=lambda method: method.name)
    def test_a_budget_by_which_nothing_is_planned_is_refused(self, method, weighing):
        unread = mock.patch.object(workflow, "given_splits", side_effect=AssertionError)
        message = r"can be planned, of \('macs', 'params', 'bytes'\).*budget\['weight'\]"
        with unread, pytest.raises(ValueError, match=message):
            tfcompress.compress(small_tasks.residual_network(), method, None, budget={"weight": 0.5})
        assert weighing.models == []

    def test_a_student_that_is_known_needs_no_plan(self, weighing):
        given = Budget({"weight": 0.5})
        assert dict(Scratch(blocks=(1, 1)).budget(given)) == {"weight": 0.5, "macs": 1.0}
        assert dict(BornAgain().budget(Budget({"weight": 1.0}))) == {"weight": 1.0, "macs": 1.0}
        model, data = teachers.classifier(blocks=(2, 2)), small_tasks.pictures(32)
        with pytest.raises(LimitMissed, match="grams"):
            tfcompress.compress(model, Scratch(epochs=0, blocks=(1, 1)), data, budget=given, verbose=0)


def test_picking_measures_the_candidates(weighing):
    """Of models of 7 / 2, 3 / 2 and 2 / 2 grams at most 1.5: the second, which has the better score."""
    models = [mock.Mock(count_params=lambda count=count: count) for count in (7, 3, 2)]
    trail = Trail((Plan(),))
    candidates = tuple(Candidate(trail, Cost(9, 9, 36), score, "made") for score in (0.9, 0.8))
    for candidate, model in zip(candidates, models[1:], strict=True):
        object.__setattr__(candidate, "model", model)
    measured = Measured.of(Cost(9, 9, 36), 0.95, None, {"weight": 3.5})
    result = Result(
        model=models[0], trail=trail, candidates=candidates, before=measured, after=measured, history={}, metric="",
        method="made", settings={}, seed=0, notes=(), calibration=np.zeros(1), budget={}, control={},
    )  # fmt: skip
    with mock.patch("tfcompress.result.measurements_of", lambda model, budget: budget.measure(model)):
        picked = result.pick(budget={"weight": 3 / 7})
        assert picked.model is models[1]
        assert picked.after.measurements == {"weight": 1.5}
        assert result.pick(budget={"weight": 0.3}).model is models[2]
        assert result.pick().model is models[0]
        with pytest.raises(ValueError, match="Expected a budget that a student trained by"):
            result.pick(budget={"weight": 0.2})
