"""The runner of recipes: flags from a dictionary, one run per method and seed, a row of JSON per run, a final table.

A recipe is a docstring (command, hours, result) and a dictionary with these keys:

    flags     as in command_line.py
    smoke     {flag: value}: what `--smoke` sets
    load      function of the flags that loads the data; by default `--data` by name, the first `--images` of it
    model     function `(name, data, args)` that returns the model of a run; see `from_zoo`, `from_file`, `teacher`
    runs      function of the flags that returns the runs, a list of `Run`; see `students` and `chosen`
    given     function `(data, args)` that returns further arguments of `compress`, such as `test_data`
    number    header of the column of `Run.number`: what the recipe varies
    plot      whether accuracy is drawn over that number
    after     function `(results, data, args)` for further output from the results

Three programs do not use this runner, because they compare no methods; they share only command_line.py: quickstart and
sensitivity show plain use of the package; train_teacher makes inputs of recipes, also where TensorFlow is not
installed.

The LIT paper is Koratana, Kang, Bailis and Zaharia (2018), "LIT: Block-wise Intermediate Representation Training for
Model Compression". Its recipes have the settings of its appendix A; `--epochs-share` shortens all schedules alike.
"""

import argparse
import dataclasses
import json
import pathlib
import time

import images
import keras
import networks
import numpy as np
from command_line import arguments

import tfcompress
from tfcompress.methods.distillation import Scratch
from tfcompress.report import plot_lines
from tfcompress.report.table import in_columns

RLAL_FLAGS = {
    "data": "cifar10",
    "images": None,
    "flops_budget": 0.5,
    "epochs": {"default": 200, "help": "epochs of joint training"},
    "finetune_epochs": {"default": None, "help": "epochs of fine-tuning, by default as many as --epochs"},
    "episodes_per_epoch": 10,
    "reward_images": 5000,
    "run_dir": None,
    "seed": 0,
}
"""Flags of the recipes of RLAL's paper, with its settings on CIFAR-10."""

RLAL_SMOKE = {
    "data": "digits",
    "images": 100,
    "reward_images": 10,
    "epochs": 4,
    "finetune_epochs": 0,
    "episodes_per_epoch": 1,
}

LIT_FLAGS = {
    "network": {"default": "resnet", "choices": ("resnet", "resnext")},
    "teacher_depth": {"default": 110, "choices": (20, 32, 44, 56, 110)},  # table 6 of the paper
    "depths": {
        "default": [20],
        "choices": range(8, 111, 6),
        "metavar": "DEPTH",
        "help": "depths of the students: 8, 14, 20, ..., 110",
    },
    "data": "cifar10",
    "images": None,
    "seeds": [0],
    "epochs_share": 1.0,
    "teacher": None,
}
"""Flags of the recipes of LIT's paper; each adds `out`."""

LIT_SMOKE = {"data": "digits", "images": 80, "seeds": [0], "epochs_share": 0.0}


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """Compression of one model by one method; run once for each of `--seeds`.

    Attributes:
        name: its name in tables and of the run folder.
        method: a method, or a function `(data, args)` that returns it, if it needs the data.
        number: the number that the recipe varies, such as a student's depth, or `None`.
        model: name passed to the recipe's `model`, or an earlier run whose student is compressed.
        flops_budget: `None` for that of the flags, if there is one.
        budget: limits of other metrics, as `compress` takes them.
        follows: an earlier run that the method depends on: `method` is then a function `(data, args, result)` of that
            run's result with the same seed.
    """

    name: str
    method: object
    number: float | None = None
    model: "str | Run" = ""
    flops_budget: float | None = None
    budget: dict | None = None
    follows: "Run | None" = None


def main(doc, recipe):
    """Runs a recipe with the flags of the command line."""
    args = arguments(doc, recipe)
    try:
        runs = recipe["runs"](args)
    except argparse.ArgumentTypeError as error:
        args.parser.error(str(error))
    data = recipe.get("load", load)(args)
    if args.smoke and "depths" in args:
        runs = runs[-1:]
    results = _results(runs, recipe, data, args)
    _show(results, recipe.get("number", ""))
    if recipe.get("plot"):
        _plot(results, args, recipe["number"])
    if "after" in recipe:
        recipe["after"](results, data, args)


# Data and models.


def load(args):
    """Loads the dataset of the flags; `--half` halves the size of images, except with `--smoke`."""
    data = tfcompress.data.load(args.data, images=args.images)
    if not vars(args).get("half") or args.smoke:
        return data
    return dataclasses.replace(data, arrays=images.of_half_size(data.arrays))


def from_zoo(name, data, args):
    """Returns a network of the zoo; with `--smoke` two residual blocks instead."""
    return networks.tiny("residual", data) if args.smoke else networks.zoo(name, data)


def from_file(name, data, args):
    """Returns the network of `--model`; with `--smoke` a tiny fresh one of the kind `name`."""
    return networks.tiny(name, data) if args.smoke else keras.saving.load_model(args.model)


def teacher(name, data, args):
    """Returns the teacher of LIT's recipes: that of `--teacher`, or one trained from scratch as in the paper."""
    del name
    if args.teacher:
        return keras.saving.load_model(args.teacher)
    keras.utils.set_random_seed(0)  # as a run folder goes on only with the network that it was made for
    if args.smoke:
        return networks.tiny(args.network, data)
    fresh = networks.zoo(f"{args.network}{args.teacher_depth}", data, streamed=(32, 32, 3))
    run_dir = folder(args, f"teacher {args.teacher_depth}")
    method = published(Scratch, args.network, args)
    return tfcompress.compress(fresh, method, data, flops_budget=1.0, run_dir=run_dir, verbose=2).model


# Methods.


def rlal_settings(args):
    """Returns the settings of RLAL that are flags of its recipes; they override those of `RLAL.as_published`."""
    names = ("epochs", "finetune_epochs", "episodes_per_epoch", "reward_images")
    return {name: getattr(args, name) for name in names}


def published(method, network, args, **changes):
    """Returns a method with LIT's settings for a network, and its epochs times `--epochs-share`."""
    made = method.as_published(network, **changes)
    epochs = {"epochs": max(1, round(made.epochs * args.epochs_share))}
    if hasattr(made, "finetune_epochs"):
        epochs["finetune_epochs"] = round(made.finetune_epochs * args.epochs_share)
    return dataclasses.replace(made, **epochs)


def students(table, teacher_is_scratch=False):
    """Returns the runs of LIT's recipes: students of each of `--depths`.

    Args:
        table: `{name: (method, settings)}`, or a function `(args, depth)` that returns this; `(name, number)` instead
            of a name for students that differ in another number than their depth. Settings change those of the paper
            for `--network`, or for the network that the setting `as` names.
        teacher_is_scratch: whether the teacher is used as the student "scratch" of its own depth.

    Returns:
        A function of the flags, as a recipe's `runs`.
    """

    def runs(args):
        made = []
        for depth in args.depths:
            for key, (method, settings) in (table(args, depth) if callable(table) else table).items():
                name, number = key if isinstance(key, tuple) else (key, depth)
                if teacher_is_scratch and name == "scratch" and depth == args.teacher_depth:
                    continue
                settings = {"blocks": networks.blocks(depth, args), **settings}
                network = settings.pop("as", args.network)
                made.append(Run(name, published(method, network, args, **settings), number))
        return made

    return runs


def chosen(methods, model=""):
    """Returns the runs of a comparison: those of `--methods`.

    Args:
        methods: function of the flags that returns `{name: method}`.
        model: name passed to the recipe's `model`.

    Returns:
        A function of the flags, as a recipe's `runs`.
    """

    def runs(args):
        known = methods(args)
        if unknown := sorted(set(args.methods) - set(known)):
            raise argparse.ArgumentTypeError(
                f"--methods: expected some of {', '.join(known)}. Received: {', '.join(unknown)}"
            )
        return [Run(name, known[name], model=model) for name in args.methods]

    return runs


# Runs, and what came of them.


def folder(args, name):
    """Returns the run folder of a run, or `None`."""
    if "run_dir" in args:
        return pathlib.Path(args.run_dir) / name if args.run_dir else None
    if not args.out or (args.smoke and "depths" in args):
        return None
    if "network" not in args:
        return pathlib.Path(args.out) / name
    return pathlib.Path(args.out) / args.network / args.data.strip("/").replace("/", "_") / name


def title(run, seed, args):
    """Returns the name of a run's folder."""
    parts = [run.name, "" if run.number is None else str(run.number), f"seed {seed}" if "seeds" in args else ""]
    return " ".join(filter(None, parts))


def _method(run, results, data, args):
    """Returns the method of a run; calls it if it is a function."""
    if not callable(run.method):
        return run.method
    return run.method(data, args) if run.follows is None else run.method(data, args, results[run.follows][-1])


def _results(runs, recipe, data, args):
    """Returns `{run: list of results, one per seed}`; prints a row of JSON for each."""
    models = {}
    results = {run: [] for run in runs}
    given = recipe["given"](data, args) if "given" in recipe else {}
    several = "seeds" in args
    for seed in args.seeds if several else [args.seed]:
        for run in runs:
            if isinstance(run.model, Run):
                model = results[run.model][-1].model  # of the same seed
            elif run.model not in models:
                model = models[run.model] = recipe["model"](run.model, data, args)
            else:
                model = models[run.model]
            start = time.time()
            result = tfcompress.compress(
                model,
                _method(run, results, data, args),
                **{"data": data, **given},
                flops_budget=run.flops_budget or vars(args).get("flops_budget"),
                budget=run.budget,
                run_dir=folder(args, title(run, seed, args)),
                seed=seed,
                verbose=2,
            )
            if not several:
                result.summary()
            row = {
                "name": run.name,
                "number": run.number,
                "seed": seed,
                "before": result.before.accuracy,
                "accuracy": result.after.accuracy,
                "validation": result.after.validation_accuracy,
                "macs": result.after.macs / result.before.macs,
                "params": result.after.params / result.before.params,
                "reward": _reward(result),
                "minutes": (time.time() - start) / 60,
            }
            say(row)
            results[run].append(result)
    return results


def say(row):
    """Prints a row of JSON."""
    print(json.dumps(row), flush=True)


def show(rows):
    """Prints rows of texts in columns."""
    print("\n".join(in_columns(rows, left=1)))


def _reward(result):
    """Returns the best score of the search, or `None`."""
    return max((each.score for each in result.candidates if each.score is not None), default=None)


def _show(results, number):
    """Prints a table: each original model, and a line for each run with mean and standard deviation over seeds."""
    first = next(iter(results.values()))[0]
    factor, digits = _scale(first.metric)

    def said(values, what):
        return f"{what([factor * value for value in values]):.{digits}f}" if values else "-"

    rows = [("", number, "MACs", "parameters", f"{first.before.split} {first.metric}", "+-", "runs", "best reward")]
    befores = {run.model: of_run[0].before for run, of_run in results.items()}
    for model, before in befores.items():
        named = f"before, {model.name if isinstance(model, Run) else model}" if len(befores) > 1 else "before"
        rows.append((named, "", f"{before.macs:,}", f"{before.params:,}", said(_values([before]), np.mean), "", "", ""))
    for run, of_run in results.items():
        after, values = of_run[0].after, _values(result.after for result in of_run)
        each = ", ".join(said([value], np.mean) for value in values)
        rewards = ", ".join("-" if (reward := _reward(result)) is None else f"{reward:.3f}" for result in of_run)
        name, value = run.name or "after", "" if run.number is None else str(run.number)
        deviation = said(values if len(values) > 1 else [], np.std)
        rows.append(
            (name, value, f"{after.macs:,}", f"{after.params:,}", said(values, np.mean), deviation, each, rewards)
        )
    show(rows)


def _scale(metric):
    """Returns the factor by which a metric is shown, and its digits: accuracies are in percent."""
    return (100, 2) if "accuracy" in metric else (1, 4)


def _values(measured):
    """Returns the metrics of those that have one."""
    return [each.accuracy for each in measured if each.accuracy is not None]


def _plot(results, args, number):
    """Draws the metric over the number of each run, with a line for each name and one for the original model."""
    lines, first = {}, next(iter(results.values()))[0]
    factor, _ = _scale(first.metric)
    for run, of_run in results.items():
        x, y = lines.setdefault(run.name, ([], []))
        x.append(run.number)
        y.append(factor * np.mean(_values(result.after for result in of_run)))
    values = [run.number for run in results]
    lines["original"] = ([min(values), max(values)], [factor * first.before.accuracy] * 2)
    draw(lines, args, number, f"{first.before.split} {first.metric}{' (%)' if factor == 100 else ''}")


def draw(lines, args, x_label, y_label, x_scale="linear", name=None):
    """Draws lines into a file in `--out`, named after network and data by default, and prints its path."""
    path = pathlib.Path(args.out) / f"{name or f'{args.network}_{pathlib.Path(args.data).name}'}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    plot_lines(lines, path, x_label, y_label, x_scale)
    print(f"Plot: {path}")
