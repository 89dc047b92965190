"""`tfcompress compress`."""

from __future__ import annotations

import argparse
from typing import Any

from tfcompress import expect
from tfcompress.cli.arguments import add_input_shape, add_model, add_seed, checked, existing, name_and_value, number
from tfcompress.cli.command import Command
from tfcompress.cli.control_flags import add_control_flags, control
from tfcompress.cli.data_flags import add_data_flags, given_data

__all__ = ["COMMAND"]


# Written down a second time, as `Method.budget` loads TensorFlow; a method of another package decides for itself.
_NEED_BUDGET = ("darc", "hint", "kd", "knapsack", "lit", "random", "replaced", "rlal", "scratch", "uniform")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_input_shape(parser)
    parser.add_argument(
        "--method",
        action="append",
        metavar="NAME",
        help="a name that `tfcompress methods` lists (default: rlal); several for a flow, as lit,uniform or repeated",
    )
    parser.add_argument(
        "--split",
        metavar="SHARES",
        type=_split,
        help="of a flow, the share of the original that each stage has to reach: lit=0.7, or 0.7,0.5 in their order",
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="the settings to start from: fast (minutes), balanced (an evening; default) or paper (as published)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        type=name_and_value,
        help="a setting of the method, such as epochs=90 or agent.gamma=0.9, in place of the preset's; of a stage of a "
        "flow lit.epochs=90, or 1.epochs=90; may be repeated",
    )
    for name, kind, text in (
        ("--epochs", int, "epochs of training the finished model, short for --set epochs=N"),
        ("--learning-rate", float, "initial learning rate, short for --set learning_rate=RATE"),
        ("--optimizer", str, "sgd, adam, or compiled for the model's own, short for --set optimizer=NAME"),
    ):
        parser.add_argument(name, metavar=name.split("-")[-1].upper(), type=kind, help=text)
    text = "time that the run may take, such as 1h or 45min: epochs and episodes are reduced to fit"
    parser.add_argument("--time-budget", metavar="TIME", help=text)
    text = "the metric that choices are made by: one that the model is compiled with, or loss"
    parser.add_argument("--monitor", metavar="NAME", type=checked(str, expect.text, "monitor"), help=text)
    for unit, name in (
        ("FLOPs", "--flops-budget"),
        ("parameters", "--params-budget"),
        ("milliseconds", "--latency-budget"),
        ("bytes of the TFLite file", "--size-budget"),
    ):
        text = f"upper limit in {unit}: a share of the original such as 0.5, or an absolute whole number above 1"
        limit = checked(number, expect.share_or_count, name.strip("-").replace("-", "_"), of=unit)
        parser.add_argument(name, metavar="LIMIT", type=limit, help=text)
    parser.add_argument(
        "--budget",
        action="append",
        default=[],
        metavar="METRIC=LIMIT",
        type=_limit,
        help="upper limit for another metric, such as bytes=100000; may be repeated",
    )
    text = "file with the latencies of operators, such as another device's, that --latency-budget plans by"
    table = checked(str, expect.path, "latency_table")
    parser.add_argument("--latency-table", metavar="FILE", type=table, help=text)
    add_data_flags(parser, test=True)
    parser.add_argument(
        "--class-weight",
        action="append",
        default=[],
        metavar="CLASS=WEIGHT",
        type=_class_weight,
        help="weight of a class in the training loss, such as 2=5; may be repeated",
    )
    parser.add_argument(
        "--run-dir",
        required=True,
        metavar="DIR",
        type=checked(str, expect.path, "run_dir", what="a folder"),
        help="folder for checkpoints, logs and the result; after an interruption the same command continues from there",
    )
    add_seed(parser)
    add_control_flags(parser)


def _split(text: str) -> dict[str | int, float] | list[float]:
    """Reads `lit=0.7,2=0.5`, or `0.7,0.5`."""
    parts = text.split(",")
    if "=" not in text:
        return [float(number(part)) for part in parts]
    pairs = [name_and_value(part) for part in parts]
    return {int(stage) if stage.isdecimal() else stage: float(number(share)) for stage, share in pairs}


def _names(args: argparse.Namespace) -> list[str]:
    """Returns the names of the methods."""
    return [name for given in args.method or ["rlal"] for name in given.split(",")]


def _methods(args: argparse.Namespace) -> Any:
    """Returns the method with its settings, or those of a flow in a list."""
    from tfcompress.flow import methods_of
    from tfcompress.methods.settings import configured

    names = _names(args)
    methods = methods_of(names, args.preset)
    if len(methods) == 1:
        return configured(methods[0], dict(args.settings))
    settings: list[dict[str, str]] = [{} for _ in methods]
    stages = {str(number): number - 1 for number in range(1, len(names) + 1)}
    stages |= {name: names.index(name) for name in names if names.count(name) == 1}
    for name, value in args.settings:
        stage, _, setting = name.partition(".")
        if stage not in stages:
            raise ValueError(
                f"Expected --set STAGE.NAME=VALUE with a stage of {', '.join(stages)}. Received: --set {name}={value}"
            )
        settings[stages[stage]][setting] = value
    return [configured(method, own) for method, own in zip(methods, settings, strict=True)]


def _limit(text: str) -> tuple[str, int | float]:
    metric, value = name_and_value(text)
    limit = checked(number, expect.share_or_count, f"budget[{metric!r}]", of=metric)
    return metric, limit(value)


def _class_weight(text: str) -> tuple[int, float]:
    label, value = name_and_value(text)
    weight = checked(float, expect.number, f"class_weight[{label}]", at_least=0)(value)
    return checked(int, expect.whole, "a class of class_weight")(label), weight


def _check(args: argparse.Namespace) -> None:
    # A method may know it from its settings: `--method lit --set blocks=3,3,3`.
    given = (args.flops_budget, args.params_budget, args.latency_budget, args.size_budget)
    has_budget = given != (None,) * len(given) or args.budget
    if not has_budget and not args.settings and set(_names(args)) & set(_NEED_BUDGET):
        args.parser.error(
            f"Expected a budget with --method {','.join(_names(args))}: give --flops-budget, --params-budget or both, "
            "or --budget, for example --flops-budget 0.5"
        )
    if len(dict(args.budget)) < len(args.budget):
        args.parser.error(f"Expected each metric of --budget once. Received: {[metric for metric, _ in args.budget]}")


def _run(args: argparse.Namespace) -> None:
    path = existing(args.model)
    import tfcompress

    result = tfcompress.compress(
        path,
        _methods(args),
        **given_data(args),
        monitor=args.monitor,
        time_budget=args.time_budget,
        input_shape=args.input_shape,
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        optimizer=args.optimizer,
        class_weight=dict(args.class_weight) or None,
        flops_budget=args.flops_budget,
        params_budget=args.params_budget,
        latency_budget=args.latency_budget,
        size_budget=args.size_budget,
        latency_table=args.latency_table,
        budget=dict(args.budget),
        split=args.split,
        run_dir=args.run_dir,
        seed=args.seed,
        **control(args),
    )
    print(result.table())
    print(f"The result is in {args.run_dir}. `tfcompress export {args.run_dir}` writes it for other runtimes.")


def _interrupted(args: argparse.Namespace) -> str:
    if not args.run_dir.is_dir():
        return "nothing was begun, the same command begins"
    return f"the same command goes on, after the last epoch that is finished in the run folder {args.run_dir}"


COMMAND = Command("compress", "makes a model cheaper, within a budget", _run, _add_flags, _check, _interrupted)
