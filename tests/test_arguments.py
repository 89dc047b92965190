"""Every setting and every argument times values that nobody means: taken for what they say, or refused by name."""

import dataclasses
import importlib
import inspect
import json
import pathlib
import types
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from converted_once import converted_once
from keras import layers

import tfcompress
from tfcompress import data, export, importance, methods, zoo
from tfcompress.methods.amc import AgentSettings as OfAMC
from tfcompress.methods.distillation import AdversarialSettings, Tuning
from tfcompress.methods.rlal import AgentSettings
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.training import Checkpoints, Objective, Progress, WeightDecay
from tfcompress.training.schedules import Constant, Cosine, StepDecay, scaled
from tfcompress.training.teaching import OutputLoss, SoftTargets

VALUES = (None, "x", float("nan"), float("inf"), -1, ())
# Of other types, and of right types that cannot be stored.
STRANGE = (
    {},
    [None],
    [[1]],
    b"x",
    1j,
    object(),
    1.5,
    np.array(1),
    np.array([1.0]),
    np.float32("nan"),
    10**400,
    "a\0b",
    "\ud800",
    "x" * 5000,
    lambda one, two, three: None,
    keras.ops.ones(()),
)
X, Y = np.linspace(0, 1, 16 * 64, dtype="float32").reshape(16, 8, 8, 1), np.arange(16) % 2
DATACLASSES = {
    **{cls: {} for cls in methods.registered_methods().values()},
    **{
        cls: {}
        for cls in (AgentSettings, OfAMC, AdversarialSettings, Tuning, SoftTargets, OutputLoss, tfcompress.Control)
    },
    methods.Training: {},
    methods.Teaching: {},
    **{getattr(importance, name): {} for name in ("ActivationMean", "Fisher", "Taylor", "RandomScores")},
    Constant: {"initial": 0.1},
    Cosine: {"initial": 0.1},
    StepDecay: {"initial": 0.1, "milestones": (1,)},
    Objective: {"loss": "mse", "metric": None},
    tfcompress.KeepChannels: {"group": "a", "indices": (0, 2)},
    tfcompress.RemoveLayers: {"nodes": ("a",)},
    tfcompress.ReplaceLayers: {"nodes": ("a",), "replacement": {"part": "b"}},
    tfcompress.Reconfigure: {"node": "a", "config": {"strides": 2}},
    tfcompress.Plan: {"edits": (tfcompress.KeepChannels("a", (0,)), tfcompress.RemoveLayers(("b",)))},
}


class Accepted(Exception):
    """The arguments are accepted: the work would begin."""


def begin(*args, **kwargs):
    raise Accepted


def outcome(name, call):
    """Runs a call; checks that what it refuses it refuses by name, in words that begin with "Expected"."""
    try:
        return call()
    except Accepted:
        return None
    except (TypeError, ValueError, FileNotFoundError) as error:
        text = str(error)
        assert text.startswith("Expected") and name in text, f"{type(error).__name__}: {text}"
        assert len(text) < 1500 and text.isprintable(), text
    return None


def as_json(owner):
    """The settings as the run folder writes them, for which numbers have to be Python's own."""
    settings = owner.settings() if hasattr(owner, "settings") else dataclasses.asdict(owner)
    assert not any(isinstance(value, np.generic) for value in keras.tree.flatten(settings))
    if hasattr(owner, "settings"):
        json.dumps(settings, allow_nan=False)


@pytest.mark.parametrize("cls", DATACLASSES, ids=lambda cls: cls.__name__)
def test_settings(cls):
    good = DATACLASSES[cls]
    as_json(cls(**good))
    for field in dataclasses.fields(cls):
        for value in VALUES + STRANGE:
            made = outcome(field.name, lambda name=field.name, value=value: cls(**{**good, name: value}))
            if made is not None and cls is not Objective:
                as_json(made)


@pytest.mark.parametrize("cls", DATACLASSES, ids=lambda cls: cls.__name__)
def test_numbers_of_numpy_are_numbers(cls):
    good = DATACLASSES[cls]
    for field in dataclasses.fields(cls):
        value = getattr(cls(**good), field.name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            given = np.int64(value) if isinstance(value, int) else np.float64(value)
            found = getattr(cls(**{**good, field.name: given}), field.name)
            assert (type(found), found) == (type(value), value), field.name
            if isinstance(value, float):
                outcome(field.name, lambda name=field.name, value=value: cls(**{**good, name: np.float32(value)}))
        if isinstance(value, tuple) and value and isinstance(value[0], (int, float)):
            found = getattr(cls(**{**good, field.name: np.array(value)}), field.name)
            assert (found, type(found[0])) == (value, type(value[0])), field.name


def test_arguments_of_small_things(tmp_path):
    def each(name, make):
        for value in VALUES + STRANGE:
            outcome(name, lambda value=value: make(value))

    each("strength", WeightDecay)
    each("verbose", Progress)
    each("keep", lambda value: Checkpoints(tmp_path, value))
    each("folder", Checkpoints)
    each("of", lambda value: scaled((1,), value, 2))
    each("to", lambda value: scaled((1,), 2, value))
    each("criterion", importance.by_name)
    each("method", methods.method_by_name)
    each("text", tfcompress.Plan.from_json)
    each("network", methods.LIT.as_published)
    groups = tfcompress.graph.ChannelGroups.of(tfcompress.graph.LayerGraph.from_keras(small_network()))
    each("data", lambda value: importance.Evidence(groups, value))
    each("loss", lambda value: importance.Evidence(groups, loss=value))
    each("seed", lambda value: importance.Evidence(groups, seed=value))
    each("folder", tfcompress.Result.load)
    each("batch_size", lambda value: data.ArrayBatches(X, Y, value))
    split = data.splits((X, Y)).train
    each("count", split.take)
    each("batch_size", split.batches)


def small_network():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    outputs = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def model():
    return small_network()


def every_argument(function, good, values=VALUES + STRANGE, leave_out=()):
    with pytest.raises(Accepted):
        function(**good)
    for name in inspect.signature(function).parameters:
        for value in () if name in leave_out else values:
            outcome(name, lambda name=name, value=value: function(**{**good, name: value}))


def test_arguments_of_compress_sensitivity_and_inspect(model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    task = types.SimpleNamespace(with_data=begin, network=Network(model))
    monkeypatch.setattr(importlib.import_module("tfcompress.workflow").Task, "before_data", lambda *_: task)
    monkeypatch.setattr(importlib.import_module("tfcompress.workflow"), "with_latency", begin)
    monkeypatch.setattr(importlib.import_module("tfcompress.report.sensitivity"), "_measured", begin)
    good = {"model": model, "data": (X, Y), "verbose": 0}
    with converted_once():  # limits of file and latency are measured before the work begins
        every_argument(tfcompress.compress, {**good, "method": methods.Uniform(epochs=0), "flops_budget": 0.5})
    every_argument(tfcompress.sensitivity, good)
    every_argument(tfcompress.inspect, {"model": model, "print_fn": begin})
    monkeypatch.setattr(importlib.import_module("tfcompress.costs.counts"), "CostModel", begin)
    every_argument(tfcompress.cost, {"model": model})


def test_all_arguments_are_checked_before_the_model_is_read(monkeypatch):
    reads = mock.Mock(side_effect=AssertionError("the model was read"))
    monkeypatch.setattr(importlib.import_module("tfcompress.workflow"), "read_model", reads)
    monkeypatch.setattr(importlib.import_module("tfcompress.report.sensitivity"), "read_model", reads)
    good = {"model": "model.keras", "data": (X, Y)}
    for wrong in (
        {"verbose": 3},
        {"run_dir": 5},
        {"run_dir": ""},
        {"objective": 5},
        {"objective": lambda y: y},
        {"seed": -1},
        {"flops_budget": 1},
        {"params_budget": np.int64(1)},
        {"ratio_limits": ["stem"]},
        {"round_to": 0},
        {"through_norms": "yes"},
        {"exclude": 5},
        {"data": 5},
        {"data": None},
        {"data": X},
        {"validation_data": "digits"},
        {"test_data": 5},
        {"method": 5},
    ):
        ((name, _),) = wrong.items()
        with pytest.raises((TypeError, ValueError), match=f"^Expected .*{name}"):
            tfcompress.compress(**{"method": "uniform", "flops_budget": 0.5, **good, **wrong})
        if name in ("verbose", "objective", "seed", "data", "validation_data"):
            with pytest.raises((TypeError, ValueError), match=f"^Expected .*{name}"):
                tfcompress.sensitivity(**{**good, **wrong})


def test_arguments_of_export(model, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.import_module("tfcompress.export.writer"), "_write", begin)
    monkeypatch.setattr(importlib.import_module("tfcompress.export.tflite"), "convert_network", begin)
    monkeypatch.chdir(tmp_path)
    every_argument(export.export, {"model": model, "path": tmp_path / "out", "calibration": X})
    every_argument(export.convert, {"model": model, "calibration": X})
    result = tfcompress.Result(
        **{field.name: None for field in dataclasses.fields(tfcompress.Result)}
        | {"model": model, "calibration": X, "budget": {}, "trail": Trail((Plan(),)), "stages": ()}
    )
    every_argument(result.export, {"path": tmp_path / "out"})


def test_arguments_of_pages_pictures_and_comparisons(model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.import_module("tfcompress.report.page"), "page_of", begin)
    monkeypatch.setitem(importlib.import_module("tfcompress.report.pictures")._PICTURES, "history", begin)
    monkeypatch.setattr(importlib.import_module("tfcompress.comparing").result_files, "figures", begin)
    result = tfcompress.Result(**{field.name: None for field in dataclasses.fields(tfcompress.Result)})
    every_argument(result.report, {"path": "report.html"})
    every_argument(result.plot, {"what": "history"})
    every_argument(tfcompress.compare, {"results": ["runs/a"]})


def test_arguments_of_a_sensitivity(monkeypatch):
    monkeypatch.setattr(pathlib.Path, "write_text", begin)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", begin)
    one = np.ones((1, 1))
    measured = tfcompress.Sensitivity((0.5,), ("a",), np.array([4]), one, one, 1.0, one, 9, "accuracy", 4, "m")
    every_argument(measured.save, {"path": "a.json"})
    every_argument(measured.plot, {"path": "a.png"})
    for value in VALUES + STRANGE:
        outcome("Sensitivity", lambda value=value: tfcompress.Sensitivity.from_json(value))


def test_arguments_of_data(monkeypatch, tmp_path):
    lines = tmp_path / "texts.csv"
    lines.write_text('"1","one"\n"2","two"\n')
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", begin)
    every_argument(data.load, {"name": "mnist"}, leave_out=("data_dir",))
    every_argument(data.load_arrays, {"name": "mnist"}, VALUES)
    every_argument(data.load_text, {"name": "imdb_reviews"}, VALUES)
    monkeypatch.setattr(importlib.import_module("tfcompress.data.texts.files"), "named_texts", begin)
    every_argument(data.load_text_files, {"train": lines, "test": lines})
    monkeypatch.setattr(importlib.import_module("tfcompress.data.splits"), "Request", begin)
    every_argument(data.splits, {"data": (X, Y)})


@pytest.mark.parametrize(
    "name",
    (
        "resnet20",
        "resnet20_v2",
        "resnet50",
        "wide_resnet16_10",
        "resnext20",
        "vgg13",
        "mobilenet_v2",
        "vdcnn9",
        "stargan_generator",
        "stargan_discriminator",
    ),
)
def test_arguments_of_the_zoo(name, monkeypatch):
    monkeypatch.setattr(keras, "Input", begin)
    every_argument(getattr(zoo, name), {})


def test_settings_that_do_nothing_are_refused(model):
    for cls, wrong, name in (
        (methods.LIT, {"adversarial": AdversarialSettings(steps=1)}, "adversarial"),
        (methods.LIT, {"tuning": Tuning(epochs=2)}, "tuning"),
        (methods.KD, {"optimizer": "adam", "momentum": 0.5}, "momentum"),
        (methods.KD, {"soft": "logits", "tau": 2.0}, "tau"),
        (methods.Uniform, {"step_epochs": 3}, "step_epochs"),
        (methods.Scratch, {"adversarial": AdversarialSettings(steps=1)}, "adversarial"),
        (AdversarialSettings, {"steps": 0, "learning_rate": 0.5}, "learning_rate"),
        (AdversarialSettings, {"steps": 0, "penalty_weight": 0.5}, "penalty_weight"),
        (AgentSettings, {"use_environment_model": False, "environment_learning_rate": 0.5}, "environment"),
    ):
        with pytest.raises(ValueError, match=rf"^Expected no `{name}.* with.*Leave it out"):
            cls(**wrong)
    methods.LIT(adversarial=AdversarialSettings(steps=1), discriminator=model, beta=0.0)
    methods.LIT(tune=True, tuning=Tuning(epochs=2))
    methods.KD(optimizer="adam")
    for name in ("resnext", "vdcnn"):
        methods.LIT.as_published(name)
