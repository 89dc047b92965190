"""The `tfcompress` command: `inspect`, `sensitivity`, `compress`, `export` and `methods`.

Each subcommand is the function of the same name, with its arguments as flags. TensorFlow takes seconds to load, so only
the subcommands load it: help and usage errors come at once.
"""

from __future__ import annotations

import argparse
import inspect
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging
from absl.flags import argparse_flags

from tfcompress import expect

__all__ = ["main"]

_MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
# The names of tfcompress.export, which needs TensorFlow.
_FORMATS = ("keras", "saved_model", "tflite")
_QUANTIZATIONS = ("float32", "float16", "dynamic", "int8")

_PLOTS = (".png", ".svg", ".pdf", ".jpg")

_EPILOG = """\
Answers go to standard output; logs, warnings and errors to standard error. Exit codes: 0 done, 1 refused or failed,
2 wrong usage, 130 interrupted (Ctrl-C). -v 1 (absl's verbosity) shows more of the logs, and tracebacks as --debug
does; --helpfull lists absl's other flags."""
_INTERRUPTED = 130  # as shells say it of a process that SIGINT ended
_DEBUG = "show the traceback of an error"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and ends the process.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Raises:
        SystemExit: always, with code 0 (done), 1 (refused or failed), 2 (wrong usage) or 130 (interrupted).
    """
    app.run(_run, argv=["tfcompress", *(sys.argv[1:] if argv is None else argv)], flags_parser=_parse)
    raise AssertionError("absl.app.run returned")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    try:
        args = parser.parse_args(argv[1:])
    except flags.Error as error:  # a bad value of one of absl's flags, which argparse does not know
        parser.error(str(error))
    if flags.FLAGS["verbosity"].using_default_value:
        # absl's default for commands is INFO, at which tensorflow-datasets says where its files lie.
        flags.FLAGS.verbosity = logging.WARNING  # type: ignore[assignment]
    if args.check is not None:
        args.check(args)
    return args


def _run(args: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    debug = args.debug or logging.level_debug()
    try:
        args.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads the output, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere
        return 1
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"tfcompress: interrupted. {_how_to_go_on(args)}", file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        if debug or not _is_expected(error):
            raise
        print(f"tfcompress: error: {error}", file=sys.stderr)
        return 1
    return 0


def _how_to_go_on(args: argparse.Namespace) -> str:
    if args.run is _compress:
        return f"The same command goes on after the last finished epoch, in the run folder {args.run_dir}."
    return "Nothing is kept of what was begun."


def _is_expected(error: Exception) -> bool:
    """Whether the message says all that a user needs: bad input, files, what is not installed, a run that diverged."""
    known = isinstance(error, (ValueError, TypeError, OSError, ImportError))
    return known or type(error).__module__.startswith("tfcompress.")


def _parser() -> argparse.ArgumentParser:
    # "resolve": a library that was imported before may have defined an absl flag of the same name.
    options: dict[str, Any] = {"allow_abbrev": False, "conflict_handler": "resolve"}
    parser = argparse_flags.ArgumentParser(
        prog="tfcompress",
        description="Makes trained Keras networks smaller and faster.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", **options)
        command.set_defaults(run=run, parser=command, check=None)
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=_DEBUG)
        return command

    # The default is this one's: a subcommand's would overwrite what stood before it.
    parser.add_argument("--debug", action="store_true", help=_DEBUG)
    looking = add("inspect", _inspect, "what a model costs, layer by layer, and what of it can be pruned")
    _add_model(looking)
    _add_control_flags(looking)
    _add_sensitivity_flags(add("sensitivity", _sensitivity, "how accurate a model is with one channel group cut"))
    _add_compress_flags(add("compress", _compress, "makes a model cheaper, within a budget"))
    _add_export_flags(add("export", _export, "writes a compressed model for other runtimes, and checks each file"))
    add("methods", _methods, "the methods, with their settings and defaults")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=_model_path, help="a .keras, .h5 or .hdf5 file")


def _add_control_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what may be pruned (PATTERN: a layer's name, or a pattern such as 'conv2_*')")
    for name, text in (("exclude", "layers that keep all their channels"), ("only", "the layers that may be pruned")):
        group.add_argument(f"--{name}", action="append", metavar="PATTERN", help=f"{text}; may be repeated")
    group.add_argument(
        "--ratio-limits",
        action="append",
        default=[],
        metavar="PATTERN=LEAST:GREATEST",
        type=_limits,
        help="least and greatest share of the channels to remove, such as 'conv2_*=0.1:0.5', or the greatest alone; "
        "may be repeated",
    )
    whole = _checked(int, expect.whole, "round_to", least=1)
    group.add_argument("--round-to", type=whole, default=1, metavar="N", help="channel counts are multiples of N")
    group.add_argument(
        "--through-norms",
        action="store_true",
        help="also remove channels over which a layer takes a statistic (LayerNormalization, keys of attention)",
    )


def _control(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `inspect` and `compress` that the flags stand for."""
    return {
        "exclude": args.exclude or (),
        "only": args.only,
        "ratio_limits": dict(args.ratio_limits),
        "round_to": args.round_to,
        "through_norms": args.through_norms,
    }


def _add_data(parser: argparse.ArgumentParser) -> None:
    text = "a dataset: digits, or a name of tensorflow-datasets"
    parser.add_argument("--data", required=True, metavar="NAME", type=_checked(str, expect.text, "data"), help=text)


def _add_seed(parser: argparse.ArgumentParser) -> None:
    text = "what all randomness comes from (default: 0)"
    parser.add_argument("--seed", type=_checked(int, expect.seed, "seed"), default=0, help=text)


def _checked(read: Callable[[str], Any], check: Callable[..., Any], name: str, **limits: Any) -> Callable[[str], Any]:
    """A type of arguments: read, then checked as the argument `name` of the function is; argparse ends with code 2."""

    def checked(text: str) -> Any:
        value = read(text)  # what it raises argparse puts into words of its own, with the name of the type
        try:
            return check(name, value, **limits)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    checked.__name__ = read.__name__
    return checked


def _add_sensitivity_flags(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_data(parser)
    text = "shares of the group's channels that are kept (default: 0.75 0.5 0.25)"
    ratio = _checked(float, expect.number, "keep_ratios", above=0, at_most=1)
    parser.add_argument("--keep-ratios", nargs="+", type=ratio, default=(0.75, 0.5, 0.25), metavar="RATIO", help=text)
    parser.add_argument("--criterion", default="l1_norm", metavar="NAME", help="ranks channels (default: l1_norm)")
    images = _checked(int, expect.whole, "images", least=1)
    parser.add_argument("--images", type=images, default=1000, help="validation samples at most (default: 1000)")
    text = "takes BatchNormalization statistics anew, from so many batches of 128 training samples (default: 0)"
    batches = _checked(int, expect.whole, "recalibrate_batches")
    parser.add_argument("--recalibrate-batches", type=batches, default=0, metavar="N", help=text)
    parser.add_argument("--plot", metavar="FILE", type=_plot_path, help=f"where a plot goes ({', '.join(_PLOTS)})")
    file = _checked(str, expect.path, "json", what="a file")
    parser.add_argument("--json", metavar="FILE", type=file, help="where the numbers go")
    _add_seed(parser)


def _add_compress_flags(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--method", default="rlal", help="a name that `tfcompress methods` lists (default: rlal)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        type=_name_and_value,
        help="a setting of the method, such as epochs=90 or agent.gamma=0.9; may be repeated",
    )
    for unit, name in (("FLOPs", "--flops-budget"), ("parameters", "--params-budget")):
        text = f"upper limit for {unit}: a share of the original such as 0.5, or an absolute whole number above 1"
        limit = _checked(_number, expect.share_or_count, name.strip("-").replace("-", "_"), of=unit)
        parser.add_argument(name, metavar="LIMIT", type=limit, help=text)
    _add_data(parser)
    parser.add_argument(
        "--run-dir",
        required=True,
        metavar="DIR",
        type=_checked(str, expect.path, "run_dir", what="a folder"),
        help="where checkpoints, logs and the result go; after an interruption the same command goes on from there",
    )
    _add_seed(parser)
    _add_control_flags(parser)
    parser.set_defaults(check=_check_compress)


def _add_export_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_dir",
        metavar="RUN",
        type=_checked(str, expect.path, "run_dir", what="a folder"),
        help="the run folder of a finished run, or the folder of a saved result",
    )
    parser.add_argument("--format", action="append", choices=_FORMATS, help="may be repeated (default: all of them)")
    parser.add_argument(
        "--quantize", action="append", choices=_QUANTIZATIONS, help="for tflite; may be repeated (default: float32)"
    )
    folder = _checked(str, expect.path, "out", what="a folder")
    parser.add_argument("--out", metavar="DIR", type=folder, help="the folder to write to (default: RUN/export)")
    parser.set_defaults(check=_check_export)


def _check_compress(args: argparse.Namespace) -> None:
    # A method may know it from its settings: `--method lit --set blocks=3,3,3`.
    if args.flops_budget is None and args.params_budget is None and not args.settings:
        args.parser.error(
            "Expected a budget: give --flops-budget, --params-budget or both, for example --flops-budget 0.5"
        )


def _check_export(args: argparse.Namespace) -> None:
    if args.quantize and args.format and "tflite" not in args.format:
        args.parser.error("Expected --quantize together with --format tflite, the only format that it concerns")


def _model_path(text: str) -> pathlib.Path:
    path: pathlib.Path = _checked(str, expect.path, "model")(text)
    if path.suffix not in _MODEL_SUFFIXES:
        raise argparse.ArgumentTypeError(f"Expected the path of a .keras or .h5 file. Received: {text!r}")
    return path


def _plot_path(text: str) -> str:
    if pathlib.Path(text).suffix not in _PLOTS:
        raise argparse.ArgumentTypeError(f"Expected a file that ends with one of {_PLOTS}. Received: {text!r}")
    return str(_checked(str, expect.path, "plot")(text))


def _number(text: str) -> int | float:
    """An int where the text is one, so that 1000000 is an absolute number and 0.5 a share."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    raise argparse.ArgumentTypeError(f"Expected a number. Received: {text!r}")


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"Expected NAME=VALUE, such as epochs=90. Received: {text!r}")
    return name, value


def _limits(text: str) -> tuple[str, tuple[float, float]]:
    pattern, values = _name_and_value(text)
    least, colon, greatest = values.rpartition(":")
    try:
        limits = (float(least) if colon else 0.0, float(greatest))
        if not 0 <= limits[0] <= limits[1] <= 1:
            raise ValueError
        return pattern, limits
    except ValueError:
        raise argparse.ArgumentTypeError(
            "Expected PATTERN=LEAST:GREATEST with 0 <= LEAST <= GREATEST <= 1, such as conv2_*=0.1:0.5. "
            f"Received: {text!r}"
        ) from None


def _existing(path: pathlib.Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"Expected an existing .keras or .h5 file. Received: {str(path)!r}")
    return str(path)


def _inspect(args: argparse.Namespace) -> None:
    path = _existing(args.model)
    import tfcompress

    tfcompress.inspect(path, **_control(args))


def _sensitivity(args: argparse.Namespace) -> None:
    path = _existing(args.model)
    for file in filter(None, (args.plot, args.json)):
        if not pathlib.Path(file).parent.is_dir():  # before all is measured
            raise FileNotFoundError(f"Expected a file in an existing folder. Received: {file!r}")
    import tfcompress

    measured = tfcompress.sensitivity(
        path,
        args.data,
        keep_ratios=args.keep_ratios,
        criterion=args.criterion,
        images=args.images,
        recalibrate_batches=args.recalibrate_batches,
        seed=args.seed,
    )
    measured.summary()
    for file, write in ((args.json, measured.save), (args.plot, measured.plot)):
        if file:
            write(file)
            print(f"Written to {file}")


def _compress(args: argparse.Namespace) -> None:
    path = _existing(args.model)
    import tfcompress
    from tfcompress.methods import method_by_name
    from tfcompress.methods.settings import configured

    result = tfcompress.compress(
        path,
        configured(method_by_name(args.method), dict(args.settings)),
        args.data,
        flops_budget=args.flops_budget,
        params_budget=args.params_budget,
        run_dir=args.run_dir,
        seed=args.seed,
        **_control(args),
    )
    result.summary()
    print(f"The result is in {args.run_dir}. `tfcompress export {args.run_dir}` writes it for other runtimes.")


def _export(args: argparse.Namespace) -> None:
    import tfcompress

    result = tfcompress.Result.load(args.run_dir)
    folder = args.out or args.run_dir / "export"
    report = result.export(folder, args.format or _FORMATS, args.quantize or (None,))
    print(report.summary())
    print(f"Written to {folder}")


def _methods(args: argparse.Namespace) -> None:
    del args
    from tfcompress.methods import registered_methods
    from tfcompress.methods.settings import as_text, settings_of

    for name, cls in registered_methods().items():
        settings = settings_of(cls())
        rows = [(setting.name, as_text(setting.default), setting.description) for setting in settings]
        name_width, default_width = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
        first_line = (inspect.getdoc(cls) or "").partition("\n")[0]
        print(f"{name}: {first_line}")
        for setting, default, description in rows:
            print(f"  {setting.ljust(name_width)} = {default.ljust(default_width)}  {description}".rstrip())
        print()
    print("`tfcompress compress ... --method NAME --set SETTING=VALUE` changes a setting.")


if __name__ == "__main__":
    main()
