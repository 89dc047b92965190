"""The `tfcompress` command, run in this process with lists of arguments."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import few_steps
import keras
import numpy as np
import tensorflow as tf
from absl.testing import flagsaver
from keras import layers

import tfcompress
from tfcompress import Budget, cli
from tfcompress.cli import exporting
from tfcompress.cli.arguments import name_and_value
from tfcompress.export import comparison, metadata_of, run_tflite
from tfcompress.export.tflite import QUANTIZATIONS
from tfcompress.export.writer import FORMATS
from tfcompress.manifest import MANIFEST
from tfcompress.methods import LIT, RLAL, Uniform, registered_methods
from tfcompress.methods.settings import configured
from tfcompress.plan import Trail
from tfcompress.result import Result

ROOT = pathlib.Path(__file__).resolve().parents[1]

# The model below, by hand: 3x3 kernels from 1 to 5 channels at 8x8 positions, from 5 to 7 at 4x4; from 7 to 10 classes.
MACS = 64 * 9 * 1 * 5 + 16 * 9 * 5 * 7 + 7 * 10
# The same ratio for both layers, 5/7: floor(5 * 5/7) = 3 and 5 channels. The next one, 4/5, gives 4 and 5: 5,234 MACs.
HALF_MACS = 64 * 9 * 1 * 3 + 16 * 9 * 3 * 5 + 5 * 10


def tiny_model():
    x = inputs = keras.Input((8, 8, 1))
    for filters, strides in ((5, 1), (7, 2)):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"conv{filters}")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs, name="tiny")


def run(*argv):
    """Runs the command; returns its exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), flagsaver.flagsaver():
        try:
            cli.main([str(argument) for argument in argv])
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()
    raise AssertionError("main returned")


class CommandTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.enterClassContext(few_steps.eagerly())
        cls.model = cls.folder / "tiny.keras"
        keras.utils.set_random_seed(0)
        tiny_model().save(cls.model)

    def compress(self, *argv, method="uniform", data="digits", run_dir=None):
        run_dir = run_dir or tempfile.mkdtemp(dir=self.folder)
        return run("compress", self.model, "--method", method, "--data", data, "--run-dir", run_dir, *argv)

    def assert_refused(self, answer, *words):
        code, _, err = answer
        self.assertEqual(code, 1, err)
        self.assertStartsWith(err, "tfcompress: error: ")
        self.assertEqual(err.count("\n"), 1, err)
        for word in words:
            self.assertIn(word, err)


class StartTest(tf.test.TestCase):
    def imports(self, *argv, module="tfcompress"):
        """Modules that the command loads in a process of its own, its exit code and standard output."""
        ended = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", module, *argv],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
        return {line.rpartition("|")[2].strip() for line in lines}, ended.returncode, ended.stdout

    def test_help_loads_no_tensorflow(self):
        modules, code, out = self.imports("--help")
        self.assertEqual(code, 0)
        self.assertIn("absl.app", modules)
        self.assertEmpty({"tensorflow", "keras", "numpy"} & modules)
        for command in ("inspect", "sensitivity", "compress", "export", "compare", "report", "methods"):
            self.assertRegex(out, rf"\n    {command}\s")

    def test_a_usage_error_loads_no_tensorflow(self):
        argv = ("compress", "model.keras", "--data", "digits", "--run-dir", "x")
        modules, code, _ = self.imports(*argv, module="tfcompress.cli")
        self.assertEqual(code, 2)
        self.assertEmpty({"tensorflow", "keras", "numpy"} & modules)


class UsageTest(tf.test.TestCase):
    COMPRESS = ("compress", "m.keras", "--data", "digits", "--run-dir", "x", "--flops-budget", "0.5")

    def assert_usage_error(self, argv, message):
        code, out, err = run(*argv)
        self.assertEqual((code, out), (2, ""))
        self.assertStartsWith(err, "usage: tfcompress")
        self.assertIn(message, err)

    def test_wrong_usage_ends_with_2(self):
        for argv, message in (
            ((), "required: COMMAND"),
            (("shrink",), "'shrink'"),
            (("inspect",), "required: MODEL"),
            (("inspect", "resnet20"), "Expected the path of a .keras or .h5 file. Received: 'resnet20'"),
            (("sensitivity", "m.keras"), "required: --data"),
            (
                ("sensitivity", "m.keras", "--data", "digits", "--keep-ratios", "half"),
                "--keep-ratios: invalid float value: 'half'",
            ),
            (("sensitivity", "m.keras", "--data", "digits", "--plot", "x.txt"), "Received: 'x.txt'"),
            (("compress", "m.keras", "--run-dir", "x", "--flops-budget", "0.5"), "required: --data"),
            (("compress", "m.keras", "--data", "digits", "--flops-budget", "0.5"), "required: --run-dir"),
            (self.COMPRESS[:-2], "--flops-budget, --params-budget or both"),
            ((*self.COMPRESS, "--params-budget", "half"), "Expected a number. Received: 'half'"),
            ((*self.COMPRESS, "--set", "epochs"), "Expected NAME=VALUE, such as epochs=90. Received: 'epochs'"),
            ((*self.COMPRESS, "--set", "=3"), "Expected NAME=VALUE"),
            ((*self.COMPRESS[:-1], "nan"), "Expected `flops_budget` to be above 0. Received: flops_budget=nan"),
            ((*self.COMPRESS[:-1], "-0.5"), "Expected `flops_budget` to be above 0. Received: flops_budget=-0.5"),
            ((*self.COMPRESS[:-1], "1.5"), "an absolute number as an int. Received: flops_budget=1.5"),
            ((*self.COMPRESS[:-1], "1"), "write flops_budget=1.0 if the whole is meant"),
            ((*self.COMPRESS, "--params-budget", "1"), "a number of parameters above 1. Received: params_budget=1"),
            ((*self.COMPRESS, "--round-to", "0"), "Expected `round_to` to be a whole number, 1 or more"),
            ((*self.COMPRESS, "--seed", "-1"), "Expected `seed` to be a whole number, 0 or more. Received: seed=-1"),
            ((*self.COMPRESS, "--ratio-limits", "a=0.5:0.1"), "0 <= LEAST <= GREATEST <= 1"),
            ((*self.COMPRESS, "--run-dir", ""), "Expected `run_dir` to be a folder"),
            ((*self.COMPRESS, "--data", ""), "Expected `data`"),
            (("inspect", "a" * 300 + ".keras"), "up to 255 bytes"),
            (("sensitivity", "m.keras", "--data", "digits", "--keep-ratios", "0"), "Received: keep_ratios=0.0"),
            (("sensitivity", "m.keras", "--data", "digits", "--images", "0"), "Received: images=0"),
            ((*self.COMPRESS, "--seed", "1.5"), "--seed"),
            ((*self.COMPRESS, "--flops", "0.5"), "unrecognized arguments: --flops"),
            (("export", "x", "--format", "onyx"), "'onyx'"),
            (("export", "x", "--integer-io", "int8"), "--integer-io together with --quantize int8, int16x8 or mixed"),
            (("export", "x", "--quantize", "int8", "--recipe", "r.json"), "--recipe together with --quantize mixed"),
            (("export", "x", "--format", "keras", "--quantize", "int8"), "--quantize together with --format tflite"),
            (("compare",), "required: RUN"),
            (("compare", "x", "--plot", "x.txt"), "Received: 'x.txt'"),
            (("compare", "x", "--cost", "params"), "--cost together with --plot"),
            (("report", "x", "y"), "unrecognized arguments: y"),
            (("report", "x", "--out", ""), "Expected `out` to be a file"),
            (("-v", "much", "methods"), "verbosity=much"),
        ):
            with self.subTest(argv=argv):
                self.assert_usage_error(argv, message)

    def test_knows_the_formats_of_export(self):
        # They are written down a second time, as tfcompress.export loads TensorFlow.
        self.assertEqual((exporting._FORMATS, exporting._QUANTIZATIONS), (FORMATS, QUANTIZATIONS))


class RefusalTest(CommandTest):
    def test_a_model_that_is_not_there(self):
        missing = self.folder / "missing.keras"
        self.assert_refused(run("inspect", missing), "Expected an existing .keras or .h5 file", str(missing))

    def test_a_file_that_is_no_model(self):
        text = self.folder / "text.keras"
        text.write_text("not a model")
        self.assert_refused(run("inspect", text))

    def test_an_unknown_method(self):
        answer = self.compress("--flops-budget", "0.5", method="magic")
        self.assert_refused(
            answer,
            "['amc', 'born_again', 'cluster', 'darc', 'hint', 'kd', 'knapsack', 'lit', 'magnitude', 'n2n', 'qat', 'random', 'replaced', 'rlal', 'scratch', 'taylor', 'uniform']",
            "'magic'",
        )

    def test_an_unknown_setting(self):
        answer = self.compress("--flops-budget", "0.5", "--set", "epoch=3")
        known = ", ".join(field.name for field in dataclasses.fields(Uniform))
        self.assert_refused(answer, f"settings of the method 'uniform', which are {known}.", "--set epoch=3")

    def test_a_preset_and_what_overrules_it(self):
        seen = []

        def compress(path, method, data, **rest):
            seen.append(method)
            raise ValueError("seen")

        with mock.patch.object(tfcompress, "compress", compress):
            for flags in ((), ("--preset", "fast"), ("--preset", "fast", "--set", "epochs=8"), ("--preset", "paper")):
                self.assert_refused(self.compress("--flops-budget", "0.5", *flags), "seen")
        self.assertEqual(
            seen,
            [Uniform(), Uniform.with_preset("fast"), Uniform.with_preset("fast", epochs=8), Uniform.as_published()],
        )
        answer = self.compress("--flops-budget", "0.5", "--preset", "quick")
        self.assert_refused(answer, "('fast', 'balanced', 'paper')", "preset='quick'")

    def test_a_flow(self):
        seen = []

        def compress(path, method, data, **rest):
            seen.append((method, rest["split"]))
            raise ValueError("seen")

        budget = ("--flops-budget", "0.5")
        with mock.patch.object(tfcompress, "compress", compress):
            sets = ("--set", "lit.epochs=3", "--set", "2.steps=2", "--set", "2.step_epochs=4", "--split", "lit=0.7")
            self.assert_refused(self.compress(*budget, *sets, method="lit,uniform"), "seen")
            flags = ("--method", "uniform", "--preset", "fast", "--split", "0.8,0.7", "--set", "1.epochs=1")
            self.assert_refused(self.compress(*budget, *flags), "seen")
        lit = [LIT(epochs=3), Uniform(steps=2, step_epochs=4)]
        twice = [Uniform.with_preset("fast", epochs=1), Uniform.with_preset("fast")]
        self.assertEqual(seen, [(lit, {"lit": 0.7}), (twice, [0.8, 0.7])])

    def test_a_flow_that_is_refused(self):
        budget = ("--flops-budget", "0.5")
        self.assert_refused(self.compress(*budget, method="uniform,lit"), "The right order is", "['lit', 'uniform']")
        words = ("--set STAGE.NAME=VALUE with a stage of 1, 2, lit, uniform", "--set epochs=3")
        self.assert_refused(self.compress(*budget, "--set", "epochs=3", method="lit,uniform"), *words)
        self.assert_refused(self.compress(*budget, "--split", "0.7"), "None for a single method")

    def test_a_setting_out_of_range(self):
        self.assert_refused(self.compress("--flops-budget", "0.5", "--set", "epochs=-1"), "epochs=-1")

    def test_forms_of_data(self):
        seen = []

        def compress(path, method, data, **rest):
            seen.append((data, rest))
            raise ValueError("seen")

        path = self.folder / "set.npz"
        np.savez(path, x=np.zeros((4, 8, 8, 1), "uint8"), y=np.zeros(4, int))
        weights = ("--class-weight", "0=2", "--class-weight", "3=0.5", "--validation-split", "0.2")
        with mock.patch.object(tfcompress, "compress", compress):
            for flags in ((), weights, ("--size", "6x7", "--preprocess", "none", "--test-data", path)):
                self.assert_refused(self.compress("--flops-budget", "0.5", *flags, data=path), "seen")
        (plain, rest), (_, weighted), (sized, with_test) = seen
        self.assertEqual((plain, rest["validation_split"], rest["class_weight"]), (str(path), None, None))
        self.assertEqual((weighted["class_weight"], weighted["validation_split"]), ({0: 2.0, 3: 0.5}, 0.2))
        self.assertEqual((sized.size, sized.scaling, sized.preprocess(np.uint8([7]))[0]), ((6, 7), "given", 7.0))
        self.assertEqual(with_test["test_data"].size, (6, 7))
        budget = ("--flops-budget", "0.5")
        self.assert_refused(self.compress(*budget, "--size", "8", data="some.module:function"), "no --size")
        self.assert_refused(self.compress(*budget, data="no_such_module:function"), "no module 'no_such_module'")

    def test_tables_of_latency_and_widths_that_pay(self):
        seen = []

        def compress(path, method, data, **rest):
            seen.append((rest["latency_table"], rest["latency_budget"], rest["round_to"]))
            raise ValueError("seen")

        with mock.patch.object(tfcompress, "compress", compress):
            flags = ("--latency-budget", "0.5", "--latency-table", self.folder / "phone.json")
            self.assert_refused(self.compress(*flags), "seen")
            self.assert_refused(self.compress("--flops-budget", "0.5", "--round-to", "auto"), "seen")
        self.assertEqual(seen, [(self.folder / "phone.json", 0.5, 1), (None, None, "auto")])
        without_use = self.compress("--flops-budget", "0.5", "--latency-table", self.folder / "phone.json")
        self.assert_refused(without_use, "Expected `latency_budget` or round_to='auto' together with `latency_table`")
        (self.folder / "no_table.json").write_text("{}")
        no_table = ("--latency-table", self.folder / "no_table.json", "--round-to", "auto")
        self.assert_refused(self.compress("--flops-budget", "0.5", *no_table), "Expected a table of operators")
        self.assert_refused(run("inspect", self.model, "--round-to", "auto"), "an inspection measures nothing")
        code, _, err = self.compress("--flops-budget", "0.5", "--latency-table", "")
        self.assertEqual(code, 2)
        self.assertIn("--latency-table", err)

    def test_methods_that_need_no_budget(self):
        """The command asks for a budget where the method itself does, and only there."""
        needs = set()
        for name, cls in registered_methods().items():
            try:
                cls().budget(Budget())
            except ValueError:
                needs.add(name)
        seen = []

        def compress(path, method, data, **rest):
            seen.append((method.name, rest["flops_budget"], rest["budget"]))
            raise ValueError("seen")

        with mock.patch.object(tfcompress, "compress", compress):
            for name in registered_methods():
                code, _, err = self.compress(method=name)
                self.assertEqual(code, 2 if name in needs else 1, name)
                if name in needs:
                    self.assertIn(f"Expected a budget with --method {name}: give --flops-budget", err)
        rest = sorted(set(registered_methods()) - needs)
        self.assertEqual(seen, [(name, None, {}) for name in rest])
        self.assertContainsSubset(("amc", "born_again", "n2n", "qat", "taylor"), rest)
        self.assertEqual(self.compress(method="amc,uniform")[0], 2)  # one of a flow is enough

    def test_blocks_stand_for_a_budget(self):
        method = configured(
            LIT(), {"blocks": "1,2", "sections": "2,", "cache_gb": "1.5", "tune": "true", "tuning.taus": "1,2"}
        )
        self.assertEqual((method.blocks, method.sections, method.cache_gb), ((1, 2), (2,), 1.5))
        self.assertEqual(method.tuning.taus, (1.0, 2.0))
        self.assertEqual(method.budget(Budget()), Budget(flops=1.0))
        self.assert_refused(self.compress("--set", "epochs=3"), "Received neither `flops_budget` nor `params_budget`")

    def test_budgets(self):
        smallest = 64 * 9 + 16 * 9 + 10  # one channel each
        answer = self.compress("--flops-budget", "0.01")
        self.assert_refused(answer, f"{2 * smallest:,} of {2 * MACS:,} FLOPs")

    def test_a_run_that_has_no_result(self):
        self.assert_refused(run("export", self.folder), "run folder of a finished run", str(self.folder))

    def test_debug_shows_where_an_error_came_from(self):
        for argv in (("--debug", "inspect"), ("inspect", "--debug"), ("inspect", "-v", "1"), ("-v", "1", "inspect")):
            with self.subTest(argv=argv), self.assertRaisesRegex(FileNotFoundError, "Received: 'no.keras'"):
                run(*argv, "no.keras")
        self.assertEqual(run("inspect", "no.keras")[0], 1)

    def test_a_reader_that_has_read_enough(self):
        """`tfcompress methods | head -1` says nothing of a broken pipe."""
        reading, writing = os.pipe()
        os.close(reading)
        with (
            open(writing, "w", encoding="utf-8") as pipe,
            contextlib.redirect_stdout(pipe),
            contextlib.redirect_stderr(io.StringIO()) as said,
            self.assertRaises(SystemExit) as ended,
        ):
            cli.main(["methods"])
        self.assertEqual((ended.exception.code, said.getvalue()), (1, ""))

    def test_an_error_of_the_program_keeps_its_traceback(self):
        with mock.patch.object(tfcompress, "inspect", side_effect=KeyError("a bug")), self.assertRaises(KeyError):
            run("inspect", self.model)


class InspectTest(CommandTest):
    def test_shows_the_costs(self):
        code, out, _ = run("inspect", self.model)
        self.assertEqual(code, 0)
        self.assertStartsWith(out, f"tiny: {MACS:,} MACs")
        self.assertRegex(out, r"conv7 +Conv2D +\(4, 4, 7\) +5,040 +315\n")

    def test_as_json(self):
        code, out, _ = run("inspect", self.model, "--json", "--exclude", "conv7")
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(out), tfcompress.inspect(self.model, lambda text: None, exclude="conv7").to_dict())

    def test_controls(self):
        """conv7 excluded, one channel of conv5: 64 * 9 + 16 * 9 * 7 + 70 MACs; half of conv5 at most, so 3: 5 times 3/5."""
        code, out, _ = run(
            "inspect", self.model, "--exclude", "conv7", "--ratio-limits", "conv5=0:0.5", "--round-to", "1"
        )
        self.assertEqual(code, 0)
        excluded, limited = 64 * 9 + 16 * 9 * 7 + 70, 64 * 9 * 3 + 16 * 9 * 3 + 10
        both = 64 * 9 * 3 + 16 * 9 * 3 * 7 + 70
        shares = " +".join(f"{macs / MACS:.4f}" for macs in (excluded, limited, both))
        self.assertRegex(out, f"smallest .* {shares}\n")

    def test_controls_that_cannot_be_meant(self):
        self.assert_refused(run("inspect", self.model, "--only", "conv9"), "'conv9', which matches none", "conv7")
        for value in ("conv5", "conv5=a", "conv5=0.1:b"):
            code, _, err = run("inspect", self.model, "--ratio-limits", value)
            self.assertEqual(code, 2)
            self.assertIn("--ratio-limits", err)

    def test_compress_keeps_to_controls(self):
        folder = tempfile.mkdtemp(dir=self.folder)
        code, out, err = self.compress(
            *("--flops-budget", "0.6", "--set", "epochs=0", "--only", "conv5", "--round-to", "2"), run_dir=folder
        )
        self.assertEqual(code, 0, err)
        model = tfcompress.Result.load(folder).model
        self.assertEqual([model.get_layer(name).filters for name in ("conv5", "conv7")], [2, 7])
        self.assertIn("widths in multiples of 2; only=['conv5']", out)


class SensitivityTest(CommandTest):
    def test_table_numbers_and_plot(self):
        plot, numbers = self.folder / "plot.png", self.folder / "numbers.json"
        flags = ("--keep-ratios", "0.5", "0.2", "--criterion", "l2_norm", "--images", "50", "--seed", "3")
        code, out, err = run(
            "sensitivity", self.model, "--data", "digits", *flags, "--plot", plot, "--json", numbers, "-v", "-1"
        )
        self.assertEqual(code, 0, err)
        # Two of five and three of seven channels stay, or one; the head reads those of conv7.
        conv5, conv7, head = 64 * 9, 16 * 9, 10
        left = {
            "conv5": [conv5 * kept + conv7 * kept * 7 + head * 7 for kept in (2, 1)],
            "conv7": [conv5 * 5 + conv7 * 5 * kept + head * kept for kept in (3, 1)],
        }
        read = tfcompress.Sensitivity.from_json(numbers.read_text())
        self.assertEqual((read.groups, read.keep_ratios, read.samples), (("conv5", "conv7"), (0.5, 0.2), 50))
        self.assertAllClose(read.macs, np.array(list(left.values())) / MACS)
        for group, (half, one) in left.items():
            self.assertRegex(
                out, rf"\n{group} +[57] +[01]\.\d+ \({half / MACS:.1%}\) +[01]\.\d+ \({one / MACS:.1%}\)\n"
            )
        self.assertIn("criterion l2_norm", out)
        self.assertIn("(seed 3)", out)
        self.assertEqual(tf.io.decode_image(plot.read_bytes()).shape[-1], 4)
        self.assertIn(f"Written to {plot}", out)

    def test_the_size_of_inputs(self):
        answer = run("sensitivity", self.model, "--data", "digits", "--input-shape", "8,8,3")
        self.assert_refused(answer, "Received: input_shape=(8, 8, 3)")

    def test_refusals(self):
        for flags, words in (
            (("--data", "digits", "--keep-ratios", "0.5", "0.5"), ["different shares", "[0.5, 0.5]"]),
            (("--data", "digits", "--criterion", "magic"), ["'magic'"]),
            (("--data", "no_such_data"), ["no_such_data"]),
            (("--data", "digits", "--plot", self.folder / "no" / "plot.png"), ["existing folder", "plot.png"]),
        ):
            with self.subTest(flags=flags):
                self.assert_refused(run("sensitivity", self.model, *flags), *words)


class MethodsTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        code, out, _ = run("methods")
        assert code == 0
        overview, *blocks = [block.splitlines() for block in out.split("\n\n")[:-1]]
        cls.overview = overview
        cls.shown = {lines[0].partition(":")[0]: lines[2:] for lines in blocks}
        cls.heads = [lines[0] for lines in blocks]
        cls.presets = {lines[0].partition(":")[0]: lines[1] for lines in blocks}

    def rows(self, method):
        """`{setting: (default, description)}`."""
        return {
            name.strip(): tuple(part.strip() for part in rest.split("  ", 1))
            for name, _, rest in (line.partition(" = ") for line in self.shown[method])
        }

    def test_lists_the_presets_of_each_method_in_a_line(self):
        self.assertEqual(
            self.presets["uniform"],
            "  presets: fast (epochs=5), balanced (the defaults below), paper (Uniform.as_published(), of "
            "resnet56-cifar10, resnet34-imagenet)",
        )
        for line in self.presets.values():
            self.assertRegex(line, r"^  presets: fast \(.*\), balanced \(.*\), paper \(\w+\.as_published\(\), of .*\)$")

    def test_says_in_a_line_when_to_choose_each(self):
        self.assertEqual(self.overview[0], "When to choose which:")
        self.assertEqual([line.split()[0] for line in self.overview[1:]], list(registered_methods()))
        for line in self.overview[1:]:
            self.assertRegex(line, r"^  \w+ +\w.*\w$")
            self.assertLessEqual(len(line), 130)

    def test_lists_all_methods_with_what_they_do(self):
        self.assertEqual(
            list(self.shown),
            [
                "amc",
                "born_again",
                "cluster",
                "darc",
                "hint",
                "kd",
                "knapsack",
                "lit",
                "magnitude",
                "n2n",
                "qat",
                "random",
                "replaced",
                "rlal",
                "scratch",
                "taylor",
                "uniform",
            ],
        )
        self.assertEqual(list(self.shown), list(registered_methods()))
        self.assertIn(
            "rlal: A soft actor-critic agent prunes the channels inside each block, of a trained model or while its weights "
            "train.",
            self.heads,
        )

    def test_every_setting_has_its_default_and_a_description(self):
        for name, cls in registered_methods().items():
            rows, method = self.rows(name), cls()
            fields = set()
            for field in dataclasses.fields(method):
                value = getattr(method, field.name)
                inner = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
                fields |= {f"{field.name}.{part.name}" for part in inner} or {field.name}
            self.assertEqual(set(rows), fields)
            for setting, (default, description) in rows.items():
                self.assertNotEmpty(description, setting)
                # The default as it is shown, given to --set, changes nothing.
                self.assertEqual(configured(method, {setting: default}), method, setting)

    def test_shows_the_first_sentence_of_the_nearest_docstring(self):
        rlal = self.rows("rlal")
        self.assertEqual(
            rlal["epochs"],
            (
                "30",
                "epochs of the joint training, at least 4; of the recovery, if weights are fixed during the search.",
            ),
        )
        self.assertEqual(self.rows("random")["epochs"], ("30", "length of a training phase in epochs."))
        self.assertEqual(
            rlal["joint"],
            ("None", "whether weights train while the agent prunes; `None`: if the model is not already trained."),
        )
        self.assertEqual(rlal["episodes_per_epoch"], ("10", "P of Algorithm 1, in joint training."))
        self.assertEqual((rlal["teach"][0], rlal["recalibrate_student"][0]), ("auto", "4"))
        self.assertEqual(rlal["agent.first_policy"][0], "uniform")
        self.assertEqual(rlal["milestones"][0], "100,150")
        self.assertEqual(rlal["agent.gamma"], ("0.99", "discount of later rewards."))
        # One that is continued on a second line of the docstring.
        self.assertEndsWith(rlal["agent_epochs"][1], "and only weights are trained and aligned from there on.")


class SettingsTest(tf.test.TestCase):
    def test_values_have_the_type_of_the_field(self):
        for text, expected in (
            ("epochs=90", {"epochs": 90}),
            ("learning_rate=0.05", {"learning_rate": 0.05}),
            ("learning_rate=1e-2", {"learning_rate": 0.01}),
            ("momentum=0", {"momentum": 0.0}),
            ("reward_images=None", {"reward_images": None}),
            ("reward_images=null", {"reward_images": None}),
            ("rescore_best=false", {"rescore_best": False}),
            ("rescore_best=False", {"rescore_best": False}),
            ("schedule=step", {"schedule": "step"}),
            ('schedule="step"', {"schedule": "step"}),
            ("joint=True", {"joint": True}),
            ("joint=false", {"joint": False}),
            ("joint=None", {"joint": None}),
            ("teach=kd", {"teach": "kd"}),
            ("teach=None", {"teach": None}),
            ("criterion=l2_norm", {"criterion": "l2_norm"}),
            ("milestones=30,60", {"milestones": (30, 60)}),
            ("milestones=[30, 60]", {"milestones": (30, 60)}),
            ("milestones=()", {"milestones": ()}),
            ("agent_epochs=(0, 1, 2)", {"agent_epochs": (0, 1, 2)}),
        ):
            with self.subTest(text):
                found = configured(RLAL(), dict([name_and_value(text)]))
                self.assertEqual(found, dataclasses.replace(RLAL(), **expected))
                name = next(iter(expected))
                self.assertIs(type(getattr(found, name)), type(expected[name]))

    def test_settings_of_the_agent(self):
        found = configured(RLAL(), {"agent.entropy_coefficient": "0.2", "agent.hidden": "64,", "epochs": "8"})
        agent = dataclasses.replace(RLAL().agent, entropy_coefficient=0.2, hidden=(64,))
        self.assertEqual(found, RLAL(epochs=8, agent=agent))

    def test_settings_that_hang_together_are_set_at_once(self):
        # Each alone is refused: the agent's epochs lie within the reference epochs.
        for given in ({"reference_epochs": "50"}, {"agent_epochs": "10,20,250"}):
            with self.assertRaisesRegex(ValueError, "three rising epochs"):
                configured(RLAL(), given)
        found = configured(RLAL(), {"reference_epochs": "50", "agent_epochs": "5,10,25"})
        self.assertEqual(found.agent_epochs, (5, 10, 25))

    def test_refuses_values_of_another_type(self):
        for text, message in (
            ("epochs=1.5", "of type int, such as epochs=30. Received: --set epochs=1.5"),
            ("epochs=many", "of type int"),
            ("epochs=true", "of type int"),
            ("rescore_best=1", "of type bool"),
            ("joint=maybe", "of type bool or None"),
            ("momentum=fast", "of type float"),
            ("learning_rate=fast", "of type float or None"),
            ("schedule=linear", "of type 'step' or 'cosine'"),
            ("milestones=100", r"of type tuple\[int, ...\], such as milestones=100,150"),
            ("milestones=100,x", "of type tuple"),
            ("agent_epochs=1,2", "of type tuple"),
            ("agent.hidden=300", "such as agent.hidden=300,300"),
            ("agent=3", "agent.gamma"),
        ):
            with self.subTest(text), self.assertRaisesRegex(ValueError, message):
                configured(RLAL(), dict([name_and_value(text)]))


class RunTest(CommandTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_dir = cls.folder / "run"
        cls.answer = cls.compress(
            cls(), "--set", "epochs=0", "--set", "criterion=l2_norm", "--flops-budget", "0.5", run_dir=cls.run_dir
        )

    def test_compress_leaves_its_result_in_the_run_folder(self):
        code, out, err = self.answer
        self.assertEqual(code, 0, err)
        self.assertRegex(out, rf"MACs +{MACS:,} +{HALF_MACS:,} +{HALF_MACS / MACS:.1%}\n")
        result = tfcompress.Result.load(self.run_dir)
        self.assertEqual((result.before.macs, result.after.macs, result.seed), (MACS, HALF_MACS, 0))
        self.assertEqual((result.method, result.settings["epochs"]), ("uniform", 0))
        self.assertEqual(result.settings["criterion"], "l2_norm")

    def test_compress_with_absolute_budgets(self):
        # 3 and 4 channels cost 3,496 MACs or 6,992 FLOPs, 3 and 5 already 7,876.
        run_dir = self.folder / "absolute"
        code, _, err = self.compress("--set=epochs=0", "--flops-budget=7000", "--seed=3", run_dir=run_dir)
        self.assertEqual(code, 0, err)
        result = tfcompress.Result.load(run_dir)
        self.assertEqual((result.after.macs, result.seed), (64 * 9 * 3 + 16 * 9 * 3 * 4 + 4 * 10, 3))
        # Kernels, two numbers a normalised channel, ten biases: 3 and 4 channels have 199 parameters, 2 and 4 have 152,
        # which leaves one more of the second: 2 and 5 have 182.
        run_dir = self.folder / "params"
        code, _, err = self.compress("--set=epochs=0", "--params-budget=198", run_dir=run_dir)
        self.assertEqual(code, 0, err)
        self.assertEqual(tfcompress.Result.load(run_dir).after.params, 18 + 4 + 90 + 10 + 50 + 10)

    def test_compress_refuses_the_run_folder_of_another_run(self):
        code, _, err = self.compress("--set", "epochs=1", "--flops-budget", "0.5", run_dir=self.run_dir)
        self.assertEqual(code, 1)
        self.assertIn("method.epochs: 0 in the folder, 1 now", err)
        self.assertNotIn("Traceback", err)

    def test_export_writes_into_the_run_folder(self):
        # As the console script does: from sys.argv.
        out = io.StringIO()
        argv = ["tfcompress", "export", str(self.run_dir), "--format", "tflite", "--quantize", "int8"]
        with (
            mock.patch.object(sys, "argv", argv),
            contextlib.redirect_stdout(out),
            self.assertRaises(SystemExit) as end,
        ):
            cli.main()
        self.assertEqual(end.exception.code, 0)
        file = self.run_dir / "export" / "model_int8.tflite"
        self.assertCountEqual([path.name for path in file.parent.iterdir()], [file.name, MANIFEST])
        self.assertRegex(out.getvalue(), rf"model_int8.tflite +tflite int8 +{file.stat().st_size:,} ")
        images = np.linspace(0, 1, 2 * 64, dtype="float32").reshape(2, 8, 8, 1)
        expected = tfcompress.Result.load(self.run_dir).model(images)
        [actual] = run_tflite(file, images).values()
        self.assertAllClose(actual, expected, atol=0.1)

    def test_export_of_several_formats_elsewhere(self):
        folder = self.folder / "elsewhere"
        flags = ("--format=keras", "--format=tflite", "--quantize=float16", "--quantize=float32")
        code, out, err = run("export", self.run_dir / "result", "--out", folder, *flags)
        self.assertEqual(code, 0, err)
        self.assertEqual(
            {path.name for path in folder.iterdir()},
            {"model.keras", "model_float16.tflite", "model_float32.tflite", MANIFEST},
        )
        self.assertIn(f"Written to {folder}", out)

    def test_export_ends_with_1_where_a_file_computes_something_else(self):
        labels = self.folder / "labels.txt"
        labels.write_text("\n".join(f"class {number}" for number in range(10)))
        flags = ("--format=tflite", "--labels", labels, "--out", self.folder / "wrong")
        with mock.patch.object(comparison.Compared, "_reasons", lambda self, entry: ["it is wrong"]):
            code, out, err = run("export", self.run_dir / "result", *flags)
            self.assertEqual(code, 1)
            self.assertIn("error: (!) model_float32.tflite does not compute what the Keras model computes", err)
            self.assertRegex(out, r"model_float32.tflite +tflite float32")
            code, out, err = run("export", self.run_dir / "result", *flags, "--on-mismatch", "warn")
            self.assertEqual(code, 0, err)
        facts = metadata_of(self.folder / "wrong" / "model_float32.tflite")
        self.assertEqual(facts["labels"][9], "class 9")
        self.assertEqual((facts["provenance"]["methods"], facts["provenance"]["seed"]), (["uniform"], 0))
        self.assertEqual(Trail.from_json(json.dumps(facts["provenance"]["trail"])), Result.load(self.run_dir).trail)
        self.assert_refused(
            run("export", self.run_dir, "--labels", self.folder / "no.txt"), "text file of labels", "no.txt"
        )

    def test_compare_prints_a_table_and_draws(self):
        plot = self.folder / "compared.png"
        code, out, err = run("compare", self.run_dir, self.run_dir / "result", "--plot", plot, "--cost", "params")
        self.assertEqual(code, 0, err)
        self.assertRegex(out, rf"\noriginal +{MACS:,} ")
        self.assertLen([line for line in out.splitlines() if f" {HALF_MACS:,} " in line], 2)
        self.assertEndsWith(out, f"Written to {plot}\n")
        self.assertStartsWith(plot.read_bytes(), b"\x89PNG")
        self.assert_refused(run("compare", self.run_dir, "--plot", self.folder / "no" / "a.png"), "existing folder")
        self.assert_refused(run("compare", self.run_dir, "--plot", plot, "--cost", "watts"), "'params'", "watts")
        self.assert_refused(run("compare", self.folder / "nowhere"), "no result.json")

    def test_report_writes_a_page_and_leaves_the_run_as_it_is(self):
        code, out, err = run("report", self.run_dir)
        self.assertEqual((code, out), (0, f"Written to {self.run_dir / 'report.html'}\n"), err)
        self.assertIn(f"<td>{HALF_MACS:,}</td>", (self.run_dir / "report.html").read_text(encoding="utf-8"))
        flags = ("--set", "epochs=0", "--set", "criterion=l2_norm", "--flops-budget", "0.5")
        self.assertEqual(self.compress(*flags, run_dir=self.run_dir)[0], 0)
        elsewhere = self.folder / "page.html"
        code, _, err = run("report", self.run_dir / "result", "--out", elsewhere)
        self.assertEqual((code, elsewhere.exists()), (0, True), err)
        self.assert_refused(run("report", self.run_dir, "--out", self.folder / "page.pdf"), "ends with .html")

    def test_rlal_runs_with_settings_of_the_agent(self):
        run_dir = self.folder / "rlal"
        settings = (
            "epochs=4",
            "finetune_epochs=1",
            "joint=True",
            "episodes_per_epoch=1",
            "batch_size=256",
            "agent.updates_per_epoch=1",
        )
        flags = [flag for setting in settings for flag in ("--set", setting)]
        code, out, err = self.compress(*flags, "--flops-budget", "0.5", method="rlal", run_dir=run_dir)
        self.assertEqual(code, 0, err)
        self.assertIn("rlal, seed 0", out)
        result = tfcompress.Result.load(run_dir)
        self.assertLessEqual(result.after.macs, MACS // 2)
        self.assertEqual(result.settings["agent"]["updates_per_epoch"], 1)
        self.assertLen(result.history["recover"]["loss"], 1)
