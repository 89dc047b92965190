"""Recipes of N2N's paper: settings, data, runs that depend on others, and means of students."""

import dataclasses
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tfcompress
from tfcompress.data import NamedData
from tfcompress.data.batches.scaling import to_unit_interval
from tfcompress.data.named.loading import NamedArrays
from tfcompress.methods import TaylorPruning
from tfcompress.methods.distillation import KD


def arguments(recipe, name, *flags):
    module = recipe(name)
    return recipe("runner").arguments(module.__doc__, module.RECIPE, flags)


def runs(recipe, name, *flags):
    return recipe(name).RECIPE["runs"](arguments(recipe, name, *flags))


def settings(method, *names):
    return tuple(getattr(method, name) for name in names)


# Settings.


def test_searches_have_the_settings_of_the_paper(recipe):
    search, _ = (run.method for run in runs(recipe, "n2n_tables1_4"))
    assert settings(search, "stage", "updates", "rollouts", "score_epochs", "removal_rate", "shrinkage_rate") == (
        ("both", 100, 5, 5, 0.003, None)  # sections 4.2 and 10.1; None: 0.01
    )
    training = ("epochs", "batch_size", "learning_rate", "optimizer", "milestones", "reference_epochs")
    assert settings(search, *training) == (150, 128, 0.001, "adam", (80, 120), 150)  # section 10.2
    mnist, _ = (run.method for run in runs(recipe, "n2n_tables1_4", "--data", "mnist", "--epochs-share", "0.2"))
    assert settings(mnist, *training) == (10, 64, 0.01, "sgd", (30,), 50)


def test_a_limit_of_parameters_is_a_budget_of_the_search(recipe):
    (run,) = runs(recipe, "n2n_tables1_4", "--params", "20000")
    assert run.budget == {"params": 20_000}
    assert run.method.constraint == "relaxed"


def test_figures_vary_one_setting_of_the_first_stage(recipe):
    rates = [run.method for run in runs(recipe, "n2n_figures6_9", "--vary", "rates")]
    whole = dataclasses.replace(rates[1], removal_rate=0.03), dataclasses.replace(rates[1], removal_rate=0.0003)
    assert (rates[0], rates[2]) == whole
    assert settings(rates[1], "stage", "removal_rate", "rollouts", "epochs") == ("removal", 0.003, 5, 0)
    assert [run.method.rollouts for run in runs(recipe, "n2n_figures6_9", "--vary", "rollouts")] == [1, 5, 10]
    assert [run.method.actor_critic for run in runs(recipe, "n2n_figures6_9")] == [False, True]


@pytest.mark.parametrize(
    ("name", "flag", "words"),
    [("n2n_tables2_3", "--methods", "pruning, squeezenet, fitnet4"), ("n2n_table5", "--pairs", "vgg11-vgg19")],
)
def test_names_that_there_are_not_are_refused(recipe, name, flag, words):
    with pytest.raises(Exception, match=f"{flag}: expected some of .*{words}.*Received: .*resnet50") as error:
        runs(recipe, name, flag, "resnet50")
    assert type(error.value).__name__ == "ArgumentTypeError"


# Runs that depend on others.


def test_what_follows_a_run_is_given_its_result_of_the_same_seed(recipe, monkeypatch, capsys):
    runner, given = recipe("runner"), []

    def compress(model, method, data, **options):
        given.append(method)
        none = SimpleNamespace(macs=10, params=5, split="test", accuracy=None, validation_accuracy=None)
        return SimpleNamespace(name=f"{method} {options['seed']}", before=none, after=none, candidates=(), metric="")

    monkeypatch.setattr(runner.tfcompress, "compress", compress)
    monkeypatch.setattr(sys, "argv", ["recipe"])
    first = runner.Run("first", "A")
    second = runner.Run("second", lambda data, args, result: f"made of {result.name} on {data}", follows=first)
    short = {
        "flags": {"seeds": [0, 1], "out": None},
        "smoke": {},
        "load": lambda args: "data",
        "model": lambda name, data, args: name,
        "runs": lambda args: [first, second],
    }
    runner.main("", short)
    assert given == ["A", "made of A 0 on data", "A", "made of A 1 on data"]


def finished(**attributes):
    after = SimpleNamespace(validation_accuracy=0.95, params=1700, accuracy=0.9)
    return SimpleNamespace(seed=1, after=after, **attributes)


def test_pruning_ends_by_the_student_of_n2n_and_students_by_hand_are_taught_on_logits(recipe):
    flags = ("--methods", "pruning", "squeezenet", "--data", "svhn_cropped")
    args = arguments(recipe, "n2n_tables2_3", *flags)
    n2n, pruning, by_hand = runs(recipe, "n2n_tables2_3", *flags)
    assert pruning.follows is by_hand.follows is n2n
    method = pruning.method("data", args, finished())
    assert isinstance(method, TaylorPruning)
    assert settings(method, "stop_params", "runs", "updates", "epochs") == (1700, 5, 30, 150)
    assert method.stop_accuracy == pytest.approx(0.94)
    images = np.zeros((1, 32, 32, 3), "uint8")
    data = NamedData("", 10, to_unit_interval, None, NamedArrays("", (images, np.zeros(1)), None, 10))
    taught = by_hand.method(data, args, finished())
    assert isinstance(taught, KD)
    assert taught.student.count_params() == 727_626  # the paper's 727K
    assert settings(taught, "soft", "epochs", "milestones") == ("logits", 150, (80, 120))
    # L_hard + 0.1 L_KD, as a weighted mean.
    assert taught.alpha / (1 - taught.alpha) == pytest.approx(10)


def test_the_best_student_of_stage_1_is_trained_from_where_it_was_scored(recipe):
    args = arguments(recipe, "n2n_tables1_4")
    both, first = runs(recipe, "n2n_tables1_4")
    models = [keras.Sequential([keras.Input((2,)), keras.layers.Dense(width)]) for width in (3, 4)]
    candidates = [
        SimpleNamespace(model=model, origin=f"best of {stage}")
        for model, stage in zip(models, ("removal", "shrinkage"), strict=True)
    ]
    assert first.follows is both
    assert first.method("data", args, finished(candidates=candidates)).student is models[0]


def test_policies_come_from_the_run_folder_of_the_search_on_the_first_teacher(recipe, monkeypatch, tmp_path):
    runner, parts, calls = recipe("runner"), recipe("n2n_parts"), []

    def compress(model, method, data, **options):
        calls.append((model, method.updates, method.policies, str(options["run_dir"])))
        names = ("stage", "update", "reward", "params", "accuracy")
        rows = [("removal", 1, 0.5, 50, 0.8), ("removal", 1, -1.0, None, None)]
        history = {
            f"students: {name}": list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }
        measured = SimpleNamespace(macs=10, params=100, split="test", accuracy=0.9, validation_accuracy=0.9)
        return SimpleNamespace(
            before=measured,
            after=measured,
            candidates=(),
            metric="accuracy",
            seed=options["seed"],
            history={"search": history},
        )

    monkeypatch.setattr(runner.tfcompress, "compress", compress)
    monkeypatch.setattr(parts, "load", lambda args: "data")
    module = recipe("n2n_table5")
    module.RECIPE.update(load=lambda args: "data", model=lambda name, data, args: name)
    flags = ["--pairs", "vgg11-vgg19", "--seeds", "0", "1", "--updates", "7", "--stage", "both", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["recipe", *flags])
    runner.main(module.__doc__, module.RECIPE)
    assert calls[3:] == [
        ("vgg11", 7, None, f"{tmp_path}/vgg11 seed 1"),
        ("vgg19", 10, f"{tmp_path}/vgg11 seed 1/policies", f"{tmp_path}/vgg11-vgg19, pre-trained seed 1"),
        ("vgg19", 10, None, f"{tmp_path}/vgg11-vgg19, scratch seed 1"),
    ]
    assert (tmp_path / "vgg11-vgg19 removal.png").is_file()


def test_means_over_the_students_of_an_update_count_those_that_were_not_trained(recipe):
    rows = [
        ("removal", 1, 0.6, 40, 0.8),
        ("removal", 1, -1.0, 90, None),
        ("removal", 2, 0.5, 80, 0.9),
        ("shrinkage", 1, 0.9, 10, 0.7),
    ]
    names = ("stage", "update", "reward", "params", "accuracy")
    history = {f"students: {name}": list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    result = SimpleNamespace(history={"search": history}, before=SimpleNamespace(params=100))
    curves = recipe("n2n_parts").curves(result, "removal")
    expected = {"reward": [-0.2, 0.5], "compression": [0.3, 0.2], "accuracy": [0.4, 0.9]}
    assert curves == {name: pytest.approx(values) for name, values in expected.items()}
    assert recipe("n2n_parts").curves(result, "both") == {}


# Data.


@pytest.fixture
def named(monkeypatch):
    """Makes `tfcompress.data.load` give 3 white images of a size."""

    def with_size(pixels):
        images = np.full((3, pixels, pixels, 1), 255, "uint8")
        data = NamedData("", 10, to_unit_interval, None, NamedArrays("", (images, np.arange(3)), None, 10))
        monkeypatch.setattr(tfcompress.data, "load", lambda name, images: data)

    return with_size


def test_vgg_reads_mnist_with_black_edges_and_other_networks_as_it_is(recipe, named):
    named(28)
    parts, networks = recipe("n2n_parts"), recipe("networks")
    data = parts.load(arguments(recipe, "n2n_figures6_9", "--network", "vgg13"))
    expected = np.pad(np.ones((3, 28, 28, 1), "float32"), ((0, 0), (2, 2), (2, 2), (0, 0)))
    assert np.array_equal(data.preprocess(data.arrays.train[0]), expected)
    assert networks.zoo("vgg13", data).input_shape == (None, 32, 32, 1)
    data = parts.load(arguments(recipe, "n2n_figures6_9", "--network", "conv4"))
    assert networks.image_shape(data) == (28, 28, 1)


def test_half_is_subtracted_but_for_teachers_that_read_the_unit_interval(recipe, named):
    named(32)
    parts = recipe("n2n_parts")
    for flags, white in ((("--pairs", "vgg11-vgg19"), 0.5), (("--unit-interval",), 1.0)):
        data = parts.load(arguments(recipe, "n2n_table5", *flags))
        assert np.array_equal(data.preprocess(data.arrays.train[0]), np.full((3, 32, 32, 1), white, "float32"))


def test_images_of_a_folder_are_a_dataset_with_a_fifth_for_the_test(recipe, tmp_path):
    for number in range(10):
        folder = tmp_path / f"00{number % 2}.class"
        folder.mkdir(exist_ok=True)
        image = np.full((16, 16, 3), 10 * number, "uint8")
        keras.utils.save_img(folder / f"{number}.png", image, scale=False)
    flags = ("--data", "caltech256", "--folder", str(tmp_path), "--pixels", "16")
    args = arguments(recipe, "n2n_tables1_4", *flags)
    data, again = recipe("n2n_parts").load(args), recipe("n2n_parts").load(args)
    (x, y), (x_test, y_test) = data.arrays.train, data.arrays.test
    assert (x.shape, x_test.shape, data.classes) == ((8, 16, 16, 3), (2, 16, 16, 3), 2)
    values = np.concatenate([x, x_test])[:, 0, 0, 0]
    assert sorted(values) == list(range(0, 100, 10))
    assert np.array_equal(values // 10 % 2, np.concatenate([y, y_test]))
    assert np.array_equal(x, again.arrays.train[0])  # a run folder goes on with the same data
    assert data.augment(x, np.random.default_rng(0)).shape == x.shape
    assert np.all(data.preprocess(np.zeros_like(x)) == -0.5)


def test_caltech_without_its_folder_is_refused(recipe, capsys):
    for flags in ((), ("--folder", "/nowhere/at/all")):
        with pytest.raises(SystemExit):
            recipe("n2n_parts").load(arguments(recipe, "n2n_tables1_4", "--data", "caltech256", *flags))
        assert "--folder" in capsys.readouterr().err
