"""Pages of the methods: one form, settings as they are, code and commands that run, drawings as their program draws."""

import ast
import contextlib
import dataclasses
import importlib
import io
import pathlib
import re
import shlex
import types
from unittest import mock

import doc_pages
import few_steps
import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tfcompress import given
from tfcompress.data.named import loading
from tfcompress.methods import N2N, method_by_name, registered_methods
from tfcompress.methods.distillation.base import Distilling
from tfcompress.methods.settings import settings_of
from tfcompress.training import StepTime

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
PAGES = DOCS / "methods"
METHODS = registered_methods()
HEADINGS = ["When to choose it", "The idea", "Call it", "Settings", "Time", "Limits", "Source"]


def text_of(name):
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def section(text, heading):
    """What stands under a heading of the second order."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.+?)^```$", text, re.M | re.S)


def table(text):
    """The rows of all tables, without their heads."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.+\|$", text, re.M)]
    return [row for n, row in enumerate(rows) if set(row[0]) - {"-"} and not set(rows[(n + 1) % len(rows)][0]) <= {"-"}]


@pytest.mark.parametrize("name", METHODS)
def test_a_page_has_its_headings_its_idea_and_its_drawing(name):
    text = text_of(name)
    assert text.startswith(f"# {name}: ")
    assert re.findall(r"^## (.+)$", text, re.M) == HEADINGS
    idea, drawing, *_ = section(text, "The idea").strip().split("\n\n")
    assert len(re.findall(r"[.?](?=\s|$)", idea)) == 5
    assert re.fullmatch(rf"!\[.+\]\(drawings/{name}\.svg\)", drawing)
    assert blocks(section(text, "Call it"), "python")
    assert blocks(section(text, "Call it"), "bash")


@pytest.mark.parametrize("name", [*METHODS, "distillation"])
def test_settings_have_the_defaults_that_the_page_says(name):
    classes = [METHODS[name]] if name in METHODS else [METHODS["lit"], METHODS["hint"]]
    heading = "Settings" if name in METHODS else "Settings of the student"
    said = {cells[0].strip("`"): cells[1].strip("`") for cells in table(section(text_of(name), heading))}
    assert len(said) > 5
    for cls in classes:
        defaults = {setting.name: setting.default for setting in settings_of(cls())}
        for setting, text in said.items():
            default = ast.literal_eval(text)
            assert (default, type(default)) == (defaults[setting], type(defaults[setting])), setting


def work_of_presets():
    """For each method the work of its presets, as docs/presets.md says it."""
    rows = table(section((DOCS / "presets.md").read_text(encoding="utf-8"), "What they come to"))
    return {re.match(r"`(\w+)`", row[0])[1]: [row[place] for place in (2, 4, 6) if row[place]] for row in rows}


@pytest.mark.parametrize("name", METHODS)
def test_time_has_every_preset_and_its_work(name):
    rows = table(section(text_of(name), "Time"))
    assert [row[0].strip('`"') for row in rows] == list(METHODS[name].presets())
    assert [row[-1] for row in rows] == work_of_presets()[name]


def test_the_table_of_all_methods():
    rows = {re.match(r"\[`(\w+)`\]", row[0])[1]: row for row in table(text_of("index").partition("\n## ")[0])}
    assert sorted(rows) == sorted(METHODS)
    for name, (link, *_, fast, balanced) in rows.items():
        assert link == f"[`{name}`]({name}.md)"
        assert [fast, balanced] == work_of_presets()[name][:2]


def anchors(page):
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", [page.stem for page in sorted(PAGES.glob("*.md"))])
def test_links_lead_somewhere(name):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text_of(name)):
        page = PAGES / (target or f"{name}.md")
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), f"{target}#{anchor}"


@pytest.fixture(scope="module")
def drawings():
    folder = PAGES / "drawings"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield {drawing.__name__: drawing().svg() for drawing in importlib.import_module("draw").DRAWINGS}


@pytest.mark.parametrize("name", METHODS)
def test_a_drawing_is_what_its_program_draws_and_can_be_read(name, drawings):
    svg = drawings[name]
    assert (PAGES / "drawings" / f"{name}.svg").read_text(encoding="utf-8") == svg
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg" width="720"')
    assert min(map(int, re.findall(r'font-size="(\d+)"', svg))) >= 13
    assert f"<title>{name}: " in svg


# Code and commands.


def network(blocks, width):
    """A smaller network than that of the index, with layers of its names."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(width, 3, 2, "same", activation="relu", name="stem")(inputs)
    for number in range(1, blocks + 1):
        y = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"block{number}_conv1")(x)
        y = layers.Conv2D(width, 3, padding="same", name=f"block{number}_conv2")(y)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="head")(x))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with a trained `model.keras` for each number of blocks."""
    data = tfcompress.data.load("digits")
    images, labels = data.arrays.train
    made = {}
    for blocks, width in ((1, 12), (2, 8)):
        keras.utils.set_random_seed(0)
        model = network(blocks, width)
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(data.preprocess(images), labels, batch_size=32, epochs=5, verbose=0)
        made[blocks] = tmp_path_factory.mktemp(f"pages{blocks}")
        model.save(made[blocks] / "model.keras")
    return made


@pytest.fixture
def made(name, folders, few_digits):
    """A current folder with `model.keras`, of two blocks where a method takes whole blocks away, else of one."""
    with contextlib.chdir(folders[2 if issubclass(METHODS[name], (Distilling, N2N)) else 1]):
        yield


@pytest.fixture(scope="module")
def few_digits():
    """Of the digits every third, whose scaling is measured once for each model: a page shows how, not how well."""
    whole, measured, known = loading._digits(), given.measured_scaling, {}
    train, test = ((images[::3], labels[::3]) for images, labels in (whole.train, whole.test))
    few = dataclasses.replace(whole, train=train, test=test)

    def measured_once(model, *args):
        if model.count_params() not in known:
            known[model.count_params()] = measured(model, *args)
        return known[model.count_params()]

    with (
        mock.patch.object(loading, "_digits", return_value=few),
        mock.patch.object(given, "measured_scaling", measured_once),
    ):
        yield


def asked(method, **given):
    """What decides a call, whether Python or the command makes it."""
    limits = ("flops_budget", "params_budget", "latency_budget", "size_budget", "only")
    given = {name: value for name, value in given.items() if name in limits and value is not None}
    return method_by_name(method), {
        name: [value] if isinstance(value, str) else list(value) if name == "only" else value
        for name, value in given.items()
    }


def run_code(codes, names):
    """Runs the code of a page; returns what it printed, and the calls on `model.keras` that it made."""
    calls, real = [], tfcompress.compress

    def compress(model, method, data, *args, preset=None, **given):
        if (model, data) == ("model.keras", "digits") and not given.get("budget"):
            calls.append(asked(method_by_name(method, preset), **given))
        return real(model, method, data, *args, preset=preset, **given)

    out = io.StringIO()
    with (
        mock.patch.object(tfcompress, "compress", compress),
        # What a run says of its length would compile the training once more, a second or more a run.
        mock.patch("tfcompress.workflow.measured_step", return_value=StepTime(0.01, 1.0)),
        few_steps.eagerly(trainings=False),
        doc_pages.registered_for_a_while(),
        contextlib.redirect_stdout(out),
    ):
        for code in codes:
            exec(code, names)
    return out.getvalue(), calls


def run_commands(text):
    """Runs the commands of a page, as far as the call that they make; returns these calls."""
    calls = []
    lines = [line for block in blocks(text, "bash") for line in block.replace("\\\n", " ").splitlines()]

    def compress(model, method, data, **given):
        assert (model, data) == ("model.keras", "digits")
        calls.append(asked(method, **given))
        return types.SimpleNamespace(table=lambda: "")

    with mock.patch.object(tfcompress, "compress", compress):
        for line in lines:
            program, *arguments = shlex.split(line)
            assert program == "tfcompress"
            doc_pages.command(shlex.join(arguments))
    return calls


def test_code_and_commands_of_the_index(tmp_path):
    made = {}
    keras.utils.set_random_seed(0)
    with contextlib.chdir(tmp_path):
        _, calls = run_code(blocks(text_of("index"), "python"), made)
        commands = run_commands(text_of("index"))
    images, labels = made["data"].arrays.test
    assert made["model"].evaluate(made["data"].preprocess(images), labels, verbose=0)[1] > 0.7
    assert made["result"].after.macs <= 0.5 * made["result"].before.macs
    assert calls == [(method_by_name("uniform", "fast"), {"flops_budget": 0.5})]
    assert commands == [(method_by_name("uniform", "fast", batch_size=64), {"flops_budget": 0.5})]
    assert made["method"].as_published() == METHODS["rlal"].as_published()


@pytest.mark.parametrize("name", METHODS)
def test_code_and_commands_of_a_page(name, made):
    text, names = text_of(name), {}
    printed, calls = run_code(blocks(text, "python"), names)
    assert calls
    commands = run_commands(text)
    assert commands
    assert [call for call in commands if call not in calls] == []
    result = names["result"]
    for metric in ("macs", "params"):
        limit = calls[-1][1].get({"macs": "flops_budget"}.get(metric, f"{metric}_budget"), 1)
        assert getattr(result.after, metric) <= limit * getattr(result.before, metric)
    if name in CHECKS:
        CHECKS[name](names, printed, text)


def of_amc(names, printed, text):
    assert names["result"].candidates[0].score == max(names["result"].history["search"]["reward"])
    assert names["result"].after.params < names["result"].before.params
    for column in names["result"].history["search"]:
        assert f"`{column}`" in text


def of_darc(names, printed, text):
    assert names["smaller"].after.macs <= 0.8 * names["smaller"].before.macs
    assert {"spectrum.png", "changes.png"} <= {path.name for path in pathlib.Path().iterdir()}
    assert names["words"].training.optimizer == "adam"


def of_kd(names, printed, text):
    result = tfcompress.compress("model.keras", names["method"], "digits", verbose=0)
    assert result.model.count_params() == 8 * 10 + 3 * 3 * 8 * 10 + 10
    assert {"loss", "loss_outputs"} <= set(result.history["recover"])


def of_lit(names, printed, text):
    assert len(names["result"].history["recover"]["loss"]) == 1
    images = np.random.default_rng(0).uniform(-1, 1, (20, 16, 16, 3)).astype("float32")
    domains = np.eye(2, dtype="float32")[np.arange(20) % 2]
    smaller = tfcompress.compress(names["generator"], names["lit"], ((images, domains), images), verbose=0)
    expected = tfcompress.zoo.stargan_generator((16, 16, 3), domains=2, blocks=1, width=8)
    assert smaller.model.count_params() == expected.count_params()


def of_n2n(names, printed, text):
    assert len(names["result"].model.layers) <= names["depth"] < len(keras.saving.load_model("model.keras").layers)
    for column in names["students"]:
        assert f"`{column}`" in text


def of_replaced(names, printed, text):
    assert names["exact"].choice == names["result"].settings["choice"] == "knapsack"


def of_rlal(names, printed, text):
    assert len(names["result"].history["search"]["reward"]) == 12
    assert {"reward", "metric", "flops", "local_search"} <= set(names["result"].history["search"])
    assert "RLAL: the model is trained" in printed
    assert names["shorter"].timetable(types.SimpleNamespace(is_trained=False)).learn == 2


def of_taylor(names, printed, text):
    assert re.search("run 1 of pruning: (accuracy would fall|fewer than 2,500)", printed.splitlines()[-1])
    for column in names["result"].history["search"]:
        assert f"`{column}`" in text


CHECKS = {name.removeprefix("of_"): check for name, check in list(globals().items()) if name.startswith("of_")}


def test_code_of_what_students_have_in_common(few_digits):
    names = {}
    run_code(blocks(text_of("distillation"), "python"), names)
    assert names["result"].after.macs <= 0.5 * names["result"].before.macs
    assert names["result"].settings["epochs"] == 2
