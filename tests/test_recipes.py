"""Recipes: their flags, the runs that these make, and one short run from the command line to its table."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfcompress.data.named.loading import load_arrays
from tfcompress.methods import RLAL
from tfcompress.methods.distillation import KD, LIT


def runs(recipe, name, *flags):
    module, runner = recipe(name), recipe("runner")
    return module.RECIPE["runs"](runner.arguments(module.__doc__, module.RECIPE, flags))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("lit_figure2_cifar", 5 * 3 - 1),  # the teacher is the network from scratch of its own depth
        ("lit_figure3_vdcnn", 3 * 3 - 1 + 2),  # a sequence for each of 17 and 9
        ("lit_figure4_cardinality", 5 * 3),  # there the teacher has other groups
        ("lit_table2_stargan", 3),
        ("lit_table3_ablations", 5),
        ("rlal_ablations", 3 + 3 * 4 + 3 * 2),
        ("rlal_imagenet", 1),
        ("darc_sequences", 6),
        ("n2n_tables1_4", 2),
        ("n2n_tables2_3", 1 + 2),
        ("n2n_table5", 3 + 3 * 2),  # ResNet-18, ResNet-34 and VGG-11 are first teachers
        ("n2n_figures6_9", 2),
        ("criteria", 3 * 12),  # all criteria, each on random plans and in two scopes
    ],
)
def test_how_many_runs_the_flags_stand_for(recipe, name, count):
    assert len(runs(recipe, name)) == count


def test_students_have_the_settings_of_the_paper_but_for_those_that_the_recipe_changes(recipe):
    made = {(run.name, run.number): run.method for run in runs(recipe, "lit_figure8_beta", "--depths", "26")}
    assert list(made) == [("LIT, resnet26", beta) for beta in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert made["LIT, resnet26", 0.25] == LIT.as_published("resnet", blocks=(4, 4, 4), beta=0.25)
    assert made["LIT, resnet26", 1.0] == KD.as_published("resnet", blocks=(4, 4, 4))


def test_rlal_has_the_settings_of_the_paper_but_for_those_of_the_flags(recipe):
    for name, network in (("resnet56_cifar10", "resnet56-cifar10"), ("mobilenetv2_cifar10", "mobilenetv2-cifar10")):
        (run,) = runs(recipe, f"rlal_{name}")
        assert run.method == RLAL.as_published(network, finetune_epochs=None)  # as many as `epochs`
        (run,) = runs(recipe, f"rlal_{name}", "--epochs", "8", "--episodes-per-epoch", "3")
        assert run.method == RLAL.as_published(network, epochs=8, finetune_epochs=None, episodes_per_epoch=3)
    for model, network in (("resnet34", "resnet-imagenet"), ("mobilenet_v2", "mobilenetv2-imagenet")):
        (run,) = runs(recipe, "rlal_imagenet", "--model", model)
        assert run.method == RLAL.as_published(network, finetune_epochs=None)
    made = {run.name: run.method for run in runs(recipe, "rlal_ablations")}
    ours = RLAL.as_published("resnet56-cifar10", finetune_epochs=None)
    without = dataclasses.replace(ours.agent, use_environment_model=False)
    assert made["table3 ours"] == ours
    assert made["table3 without EE and SR"] == dataclasses.replace(ours, agent=without, alignment=0.0)


def test_the_share_of_epochs_shortens_all_phases(recipe):
    (lit,) = [run.method for run in runs(recipe, "lit_table4_losses", "--epochs-share", "0.2") if "smooth" in run.name]
    assert (lit.epochs, lit.finetune_epochs) == (35, 15)  # of the paper's 175 and 75
    assert lit.loss == "smooth_l1"


def test_a_method_that_there_is_not_is_refused_before_anything_is_loaded(recipe, monkeypatch, capsys):
    module, runner = recipe("lit_against_baselines"), recipe("runner")
    monkeypatch.setattr(runner, "load", lambda args: pytest.fail("data were loaded"))
    monkeypatch.setattr(sys, "argv", ["recipe", "--methods", "lit", "litt"])
    with pytest.raises(SystemExit) as end:
        runner.main(module.__doc__, module.RECIPE)
    assert end.value.code == 2
    assert "--methods: expected some of lit, kd, hint, hints, scratch, " in (said := capsys.readouterr().err)
    assert "Received: litt" in said


def measured(macs, accuracy):
    return SimpleNamespace(
        macs=macs, params=2 * macs, split="test", accuracy=accuracy, validation_accuracy=accuracy - 0.01
    )


def test_each_method_and_seed_is_a_run_with_a_row_and_the_table_has_their_mean(recipe, monkeypatch, capsys, tmp_path):
    runner, calls = recipe("runner"), []

    def compress(model, method, data, **settings):
        calls.append((model, method, data, settings["flops_budget"], settings["run_dir"].name, settings["seed"]))
        candidates = (SimpleNamespace(score=0.3), SimpleNamespace(score=0.4), SimpleNamespace(score=None))
        return SimpleNamespace(
            before=measured(1000, 0.9),
            after=measured(500, (0.8, 0.7)[settings["seed"]]),
            candidates=candidates,
            metric="accuracy",
        )

    monkeypatch.setattr(runner.tfcompress, "compress", compress)
    monkeypatch.setattr(sys, "argv", ["recipe"])
    short = {
        "flags": {"flops_budget": 0.5, "seeds": [0, 1], "out": str(tmp_path)},
        "smoke": {},
        "load": lambda args: "data",
        "model": lambda name, data, args: f"{name} for {data}",
        "runs": lambda args: [runner.Run("a", "A", 8, "net"), runner.Run("b", "B", 14, "net", flops_budget=0.25)],
        "number": "depth",
    }
    runner.main("", short)
    assert calls == [
        ("net for data", "A", "data", 0.5, "a 8 seed 0", 0),
        ("net for data", "B", "data", 0.25, "b 14 seed 0", 0),
        ("net for data", "A", "data", 0.5, "a 8 seed 1", 1),
        ("net for data", "B", "data", 0.25, "b 14 seed 1", 1),
    ]
    lines = capsys.readouterr().out.splitlines()
    rows = [json.loads(line) for line in lines[:4]]
    assert [(row["name"], row["seed"], row["accuracy"], row["reward"]) for row in rows] == [
        ("a", 0, 0.8, 0.4),
        ("b", 0, 0.8, 0.4),
        ("a", 1, 0.7, 0.4),
        ("b", 1, 0.7, 0.4),
    ]
    assert {row["macs"] for row in rows} == {row["params"] for row in rows} == {0.5}
    assert [line.split() for line in lines[5:]] == [
        ["before", "1,000", "2,000", "90.00"],
        ["a", "8", "500", "1,000", "75.00", "5.00", "80.00,", "70.00", "0.400,", "0.400"],
        ["b", "14", "500", "1,000", "75.00", "5.00", "80.00,", "70.00", "0.400,", "0.400"],
    ]


def test_a_run_goes_on_with_the_student_of_another_and_is_given_what_it_needs(recipe, monkeypatch, capsys):
    runner, calls = recipe("runner"), []

    def compress(model, method, data, **settings):
        calls.append((model, method, data, settings["test_data"]))
        # A generator has no metric.
        none = SimpleNamespace(macs=10, params=5, split="test", accuracy=None, validation_accuracy=None)
        made = {"before": none, "after": none, "candidates": (), "metric": "", "summary": lambda: None}
        return SimpleNamespace(model=f"{method} of {model}", **made)

    monkeypatch.setattr(runner.tfcompress, "compress", compress)
    monkeypatch.setattr(sys, "argv", ["recipe"])
    first = runner.Run("first", lambda data, args: f"made for {data}", 6, "net")
    short = {
        "flags": {"seed": 0, "out": None},
        "smoke": {},
        "load": lambda args: "all",
        "model": lambda name, data, args: name,
        "runs": lambda args: [first, runner.Run("second", "B", 2, first)],
        "given": lambda data, args: {"data": f"{data}, mapped", "test_data": "test"},
        "number": "blocks",
    }
    runner.main("", short)
    assert calls == [
        ("net", "made for all", "all, mapped", "test"),
        ("made for all of net", "B", "all, mapped", "test"),
    ]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert lines == [
        ["before,", "net", "10", "5", "-"],
        ["before,", "first", "10", "5", "-"],
        ["first", "6", "10", "5", "-", "-", "-"],
        ["second", "2", "10", "5", "-", "-", "-"],
    ]


def test_images_on_the_device_are_mirrored_and_cropped_as_on_the_host(recipe):
    images = np.random.default_rng(0).integers(1, 256, (64, 6, 5, 1), dtype="uint8")
    model = recipe("train_teacher").OnDevice(lambda x, training: x, images, augment=True, seed=0, padding=2)
    numbers = np.arange(64)[::-1]
    assert np.array_equal(np.round(model(numbers) * 255), images[numbers])  # nothing is changed outside of training
    changed = np.round(model(numbers, training=True) * 255)
    places = set()
    for image, number in zip(changed, numbers, strict=True):
        padded = np.pad(images[number], ((2, 2), (2, 2), (0, 0)))
        crops = {(top, left): padded[top : top + 6, left : left + 5] for top in range(5) for left in range(5)}
        (place,) = [
            (*place, mirrored)
            for place, crop in crops.items()
            for mirrored, way in ((False, crop), (True, crop[:, ::-1]))
            if np.array_equal(image, way)
        ]
        places.add(place)
    for axis, values in enumerate((range(5), range(5), (False, True))):
        assert {place[axis] for place in places} == set(values)
    assert len(places) > 32  # of 50, in 64 draws: each image has a place of its own
    assert not np.array_equal(changed, np.round(model(numbers, training=True) * 255))


def test_a_teacher_trained_in_half_precision_is_written_in_float32_with_the_accuracy_of_its_card(
    recipe, monkeypatch, tmp_path
):
    flags = "--smoke --on-device --precision mixed_bfloat16 --model wide_resnet --arguments depth=10 width=1"
    monkeypatch.setattr(sys, "argv", ["train_teacher.py", *flags.split(), "--out", str(tmp_path)])
    recipe("train_teacher").main()
    model = keras.models.load_model(tmp_path / "wide_resnet10_1_digits.keras")
    assert {variable.dtype for variable in model.variables} == {layer.compute_dtype for layer in model.layers}
    assert model.layers[-1].compute_dtype == "float32"
    card = json.loads((tmp_path / "wide_resnet10_1_digits.json").read_text(encoding="utf-8"))
    assert "--model wide_resnet --arguments depth=10 width=1 --data digits --epochs 1 " in card["command"]
    assert card["command"].endswith(" --images 256 --precision mixed_bfloat16 --on-device --seed 0")
    x, y = load_arrays("digits").test
    right = np.argmax(model.predict(x / np.float32(255), verbose=0), axis=-1) == y
    assert card["test_accuracy"] == pytest.approx(np.mean(right), abs=1 / len(y))
    assert (card["parameters"], card["train_images"]) == (model.count_params(), 256)
