"""Students scored in other processes: the same scores as here, whatever dies on the way, and what is said of data that cannot go."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
from unittest import mock

import clusters
import keras
import numpy as np
import psutil
import pytest
import small_tasks

import tfcompress
from tfcompress import data
from tfcompress.costs import Cost
from tfcompress.methods import N2N
from tfcompress.methods.n2n.elsewhere import Elsewhere, NotElsewhere, _described, _modules
from tfcompress.methods.n2n.jobs import _objective
from tfcompress.methods.n2n.records import Records
from tfcompress.methods.n2n.scoring import Scoring
from tfcompress.methods.n2n.students import Scored, Students, rungs
from tfcompress.plan import KeepChannels, Plan, Trail
from tfcompress.training import Objective, RunFolder, Training, infer
from tfcompress.workers import Workers

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
TRAINING = Training(epochs=2, batch_size=32, learning_rate=5e-4, optimizer="adam", weight_decay=0.0)


def task(data=None):
    """A task on the small network, which is as good as can be."""
    made = small_tasks.task_for(small_tasks.trained_network(), arrays=small_tasks.pictures(96), accuracy=1.0)
    return made if data is None else dataclasses.replace(made, splits=data)


def trails(of, count=4):
    """Students that differ in the channels of one group."""
    group = next(iter(of.groups.groups.values()))
    return [
        Trail((Plan([KeepChannels(group.name, tuple(range(1 + number)))], weights="fresh"),)) for number in range(count)
    ]


def outcome(workers, halving, of=None):
    """Scores of an update and weights of its best student, to the digit; and what was said."""
    of = task() if of is None else of
    with Students(Scoring(of, TRAINING, False), (1, 50_000), workers, halving) as scorer:
        scores = scorer.score_all(of.network, trails(of), strict=False)
        best = max(scores, key=lambda score: score.accuracy)
        scorer.keep("stage", best.trail)
        weights = scorer.model_of(of.network, best.trail).get_weights()
    plain = [dataclasses.replace(score, seconds=0.0) for score in scores]
    return plain, [weight.tobytes() for weight in weights], of.said


@pytest.fixture(scope="module")
def here():
    """What comes out where all students are scored in this process."""
    return outcome(None, None)


@contextlib.contextmanager
def first_worker_killed():
    """Kills one of the processes that score students while they do."""
    real, killed = Elsewhere.train, []

    def train(self, network, batch, epochs, goes_on, noted):
        def and_killed(*score):
            noted(*score)
            working = [child for child in psutil.Process().children(recursive=True) if _works(child)]
            if working and not killed:
                killed.append(working[0].pid)
                os.kill(working[0].pid, signal.SIGKILL)

        return real(self, network, batch, epochs, goes_on, and_killed)

    with mock.patch.object(Elsewhere, "train", train):
        yield killed


def _works(process):
    line = " ".join(process.cmdline())
    return "spawn_main" in line or "ray::on_cluster" in line


@pytest.mark.slow
def test_scores_and_winner_are_those_of_this_process_though_a_worker_was_killed(here, capfd):
    """Workers have as many threads as this process: sums of floats depend on it in their last digits."""
    with first_worker_killed() as killed:
        seen = outcome(Workers(2, threads=None), None)
    assert killed
    assert seen == here
    assert len({score.accuracy for score in seen[0]}) > 1
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_on_a_ray_cluster_with_a_worker_killed(here):
    pytest.importorskip("ray")
    with clusters.started(), first_worker_killed() as killed:
        assert outcome(Workers("ray", threads=None), None) == here
        assert killed


class Searches:
    """Starts `killed_search.py`, which forks a process for each job."""

    def __init__(self):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, str(HERE / "killed_search.py")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._process.stdout.readline() == "ready\n"

    def run(self, folder, **job):
        """Runs until the end or until it is killed; returns the exit code."""
        self._process.stdin.write(json.dumps({"folder": str(folder), **job}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self):
        self._process.kill()
        self._process.communicate()


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_and_ends_as_if_nothing_had_been(tmp_path):
    """Killed in the pool in both stages, and in the winner's training, with other numbers of workers each time; and the
    uninterrupted search had no workers.
    """
    searches = Searches()
    try:
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        assert searches.run(whole, workers=None) == 0, (whole / "printed").read_text()
        for workers, place in ((2, "record 2"), (1, "record 9"), (2, "winner 2")):
            assert searches.run(killed, workers=workers, place=place) == -signal.SIGKILL, (
                killed / "printed"
            ).read_text()
        assert searches.run(killed, workers=2) == 0, (killed / "printed").read_text()
    finally:
        searches.end()
    ours, expected = (json.loads((folder / "outcome.json").read_text()) for folder in (killed, whole))
    assert ours == expected
    assert expected["notes"] == []
    assert {name.name for name in (killed / "run").glob("students*")} == {"students.json"}


# Data, models and objectives that cannot go are said, and the search goes on here.


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        x, y = small_tasks.pictures(96)
        return x[index::3], y[index::3]


def test_data_of_this_process_alone_is_scored_here_and_it_is_said():
    own = data.splits(Batches(), validation_data=small_tasks.pictures(40), input_shape=(None, 8, 8, 1), classes=4)
    with mock.patch.object(Scoring, "train", lambda *args: 0.5):
        scores, _, said = outcome(Workers(2), None, task(own))
    assert {score.accuracy for score in scores} == {0.5}
    (note,) = said
    assert "in this process" in note
    assert "the training data are 3 batches of an object that only this process has. Pass arrays" in note


def test_a_cluster_that_cannot_be_reached_is_refused_before_data_is_read(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with (
        mock.patch.object(Batches, "__getitem__", side_effect=AssertionError("data was read")),
        pytest.raises(ValueError, match=r"Expected a Ray cluster at '127.0.0.1:9'.*Nothing was begun"),
    ):
        tfcompress.compress(small_tasks.trained_network(), N2N(workers="ray"), Batches(), verbose=0)


def test_layers_of_the_script_that_runs_cannot_go():
    inputs = keras.Input((2,))
    own = type("Own", (keras.layers.Layer,), {"__module__": "__main__", "call": lambda self, x: x})
    with pytest.raises(NotElsewhere, match=r"Own is defined in the script that runs.*module of its own"):
        _modules(keras.Model(inputs, own()(inputs)), {})


def test_objectives_are_written_down_and_made_again():
    model, (x, y) = small_tasks.trained_network(), small_tasks.pictures(8)
    outputs = keras.ops.convert_to_numpy(model(x))
    own = keras.models.clone_model(model)
    own.compile("sgd", small_tasks.own_loss, metrics=["accuracy"])
    by_name = Objective("sparse_categorical_crossentropy", "loss", higher_is_better=False)
    for objective in (infer(model, y), infer(own, y), by_name):
        made = _objective(json.loads(json.dumps(_described(objective))))
        assert (made.metric_name, made.name, made.sign) == (objective.metric_name, objective.name, objective.sign)
        first, second = (np.sum(keras.losses.get(each.loss)(y, outputs)) for each in (objective, made))
        assert first == second


# Records and comparisons, without any training.


def test_half_a_line_counts_for_nothing(tmp_path):
    with RunFolder(tmp_path / "run").open({"seed": 0}) as folder:
        of = mock.Mock(run=folder)
        records = Records(of)
        records.add("a", {"value": 1})
        records.add("b", {"value": 2})
        lines = tmp_path / "run" / "students.jsonl"
        lines.write_text(lines.read_text()[:-6])
        again = Records(of)
        assert (again.get("a"), again.get("b")) == ({"value": 1}, None)
        again.add("c", {"value": 3})
        assert Records(of).get("c") == {"value": 3}
        again.gather()
        assert not lines.exists()
        assert {name: Records(of).get(name) for name in "abc"} == {"a": {"value": 1}, "b": None, "c": {"value": 3}}


def test_rungs():
    assert rungs(5, None) == (5,)
    assert rungs(5, 2) == (1, 2, 5)
    assert rungs(5, 3) == (1, 5)
    assert rungs(1, 2) == (1,)
    assert rungs(9, 3) == (1, 3, 9)


def test_the_worse_half_stops_at_each_rung_and_keeps_its_score():
    of = task()
    scorer = Students(Scoring(of, Training(epochs=5), inherit=False), (1, 50_000), halving=2)
    drawn = [Trail((Plan(weights=f"model-{number}.keras"),)) for number in range(5)]
    trained = []

    def known(self, network, key, trail, strict):
        return Scored(trail, "", Cost(10, 10, 40), within=True)

    def train(self, network, batch, epochs, noted):
        for key, trail in batch:
            trained.append((drawn.index(trail), epochs))
            noted(key, ([50, 10, 90, 50, 30][drawn.index(trail)] + epochs) / 100, 1.0)

    with mock.patch.multiple(Students, _untrained=known, _train=train):
        scores = scorer.score_all(of.network, [*drawn, drawn[0]], strict=True)
        again = scorer.score_all(of.network, drawn, strict=True)
    assert [score.accuracy for score in scores] == [0.55, 0.11, 0.95, 0.52, 0.31, 0.55]
    assert trained == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (0, 2), (2, 2), (3, 2), (0, 5), (2, 5)]
    assert again == scores[:5]
