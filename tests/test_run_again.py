"""Calls on the run folder of an earlier call: what is refused leaves it free, what differs is told, damage is mended."""

import contextlib
import functools
import io
import json
import os
import shutil
import signal
import subprocess
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress import workflow
from tfcompress.methods import KD, LIT, Uniform
from tfcompress.training import NoRoomError, RunFolderError, callbacks
from tfcompress.training._files import write_json

CLASSES = 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 8)).astype("float32")
Y = RNG.integers(0, CLASSES, 96)
CUT = Uniform(epochs=0)
WEIGHT = 1.0


def network(seed=0, activation="relu", **compiled):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8,))
    x = layers.Dense(6, activation)(layers.Dense(7, activation)(inputs))
    model = keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))
    if compiled:
        model.compile(**{"loss": "sparse_categorical_crossentropy", **compiled})
    return model


def compress(run_dir, model=None, **changes):
    settings = {"method": CUT, "data": (X, Y), "flops_budget": 0.6, "run_dir": run_dir, "verbose": 0, **changes}
    return tfcompress.compress(network() if model is None else model, **settings)


class Begun(BaseException):
    """Ends a run, as a kill would, when it has begun in its folder."""


def begun(folder, model=None, **changes):
    """A run folder in which a run has begun, or gone on; nothing is measured or trained."""
    with mock.patch.object(workflow, "_measured", side_effect=Begun), pytest.raises(Begun):
        compress(folder, model, **changes)
    return folder


def notes_of(folder, **changes):
    """What a run says when it begins, or goes on."""
    with mock.patch.object(workflow, "_measured", side_effect=Begun) as measured, pytest.raises(Begun):
        compress(folder, **changes)
    return " ".join(measured.call_args.args[-2])


def weights_of(result):
    return [np.asarray(weight) for weight in result.model.weights]


def assert_same(result, other):
    assert result.trail.to_json() == other.trail.to_json() or len(result.trail.last) == len(other.trail.last)
    for one, two in zip(weights_of(result), weights_of(other), strict=True):
        np.testing.assert_array_equal(one, two)
    assert (result.before, result.after) == (other.before, other.after)


WRONG = {
    "a budget out of reach": {"flops_budget": 0.01},
    "no budget": {"flops_budget": None},
    "a parameter budget": {"params_budget": 1e-6},
    "a method": {"method": "rlql"},
    "a method that cannot": {"method": LIT(epochs=1, finetune_epochs=1, blocks=(1, 1))},
    "a student that does not fit": {"method": KD(epochs=1, student=keras.Sequential([keras.Input((5,))]))},
    "the shape of data": {"data": (X[:, :5], Y)},
    "labels": {"data": (X, Y + 5)},
    "validation labels": {"validation_data": (X, Y - 1)},
    "test data": {"test_data": (X * np.nan, Y)},
    "exclude": {"exclude": "nothing_is_called_so"},
    "only": {"only": ()},
    "ratio_limits": {"ratio_limits": {"nothing_is_called_so": 0.5}},
    "round_to": {"round_to": 0},
    "an objective": {"objective": lambda y, outputs: keras.ops.mean(outputs)},
    "a criterion": {"method": Uniform(epochs=0, criterion="bn_scale")},  # only the search finds out
    "a criterion that fails": {"method": Uniform(epochs=0, criterion=lambda group, evidence: 1 / 0)},
    "seed": {"seed": -1},
    "verbose": {"verbose": 7},
}


class TestRefusedThenCorrected:
    """A refused call leaves no trace: the corrected one runs in the same folder."""

    @pytest.mark.parametrize("name", WRONG)
    def test_each_argument(self, name, tmp_path):
        folder = tmp_path / "runs" / "x"
        with pytest.raises((TypeError, ValueError, ZeroDivisionError)):
            compress(folder, **WRONG[name])
        assert not folder.parent.exists()
        if name in ("a budget out of reach", "a criterion"):
            compress(folder)
            assert (folder / "result" / "result.json").exists()

    def test_files_that_were_there_stay(self, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(ValueError):
            compress(tmp_path, flops_budget=0.01)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    @pytest.mark.parametrize(
        "name", ["before.json", "search.json", "source.keras", "checkpoints/fine-tuning/old.part/mine", ".lock"]
    )
    def test_files_of_others_or_of_an_unknown_run_are_neither_used_nor_written_over(self, name, tmp_path):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
        with pytest.raises(RunFolderError, match=name.partition("/")[0]):
            compress(tmp_path)
        assert file.read_text() == "mine"
        assert [path.name for path in tmp_path.iterdir()] == [name.partition("/")[0]]

    @pytest.mark.parametrize("run_dir", ["", "  ", "a\0b", "~nobody_has_this_name/x", 5, b"runs", ["runs"]])
    def test_what_is_no_folder(self, run_dir):
        with pytest.raises((TypeError, ValueError), match=r"Expected `run_dir` to be .*Received: run_dir="):
            compress(run_dir)

    def test_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        with tfcompress.training.open_run("~/runs") as run:
            assert run.path == tmp_path / "runs"


class TestOtherSettings:
    """What decides the outcome is compared by content, and each difference has a name."""

    def refused(self, folder, words, model=None, **changes):
        with pytest.raises(RunFolderError, match=words):
            compress(folder, model, **changes)

    def test_objectives(self, tmp_path):
        def score(weight):
            return lambda y, outputs: weight * keras.ops.sum(outputs, axis=-1)

        folder = begun(tmp_path / "run", objective=score(1.0))
        begun(folder, objective=score(1.0))
        self.refused(folder, r"objective.score.reads.weight: 1.0 in the folder, 2.0 now", objective=score(2.0))
        self.refused(folder, "objective.score", objective=lambda y, outputs: outputs[:, 0])

        def by_global(y, outputs):
            return WEIGHT * keras.ops.sum(outputs, axis=-1)

        folder = begun(tmp_path / "other", objective=by_global)
        with mock.patch.dict(globals(), WEIGHT=2.0):
            self.refused(folder, "reads.WEIGHT: 1.0 in the folder, 2.0 now", objective=by_global)

    def test_criteria(self, tmp_path):
        def criterion(power):
            return lambda group, evidence: np.arange(group.size, dtype=float) ** power

        folder = begun(tmp_path / "run", method=Uniform(epochs=0, criterion=criterion(1)))
        self.refused(
            folder, "method.criterion.reads.power: 1 in .*, 2 now", method=Uniform(epochs=0, criterion=criterion(2))
        )

    def test_late_samples_and_labels_of_every_split(self, tmp_path):
        def changed(array, at=-1):
            copy = array.copy()
            copy[at] = 1 - np.clip(copy[at], 0, 1)
            return copy

        splits = {"data": (X, Y), "validation_data": (X[::-1], Y), "test_data": (X + 1, Y)}
        folder = begun(tmp_path / "run", **splits)
        begun(folder, **splits)
        for name, split in (("data", "training"), ("validation_data", "validation"), ("test_data", "test")):
            x, y = splits[name]
            self.refused(folder, rf"samples.{split}.labels", **{**splits, name: (x, changed(y))})
        self.refused(folder, "samples.training.inputs", **splits | {"data": (changed(X), Y)})

    def test_streams(self, tmp_path):
        def stream(y=Y, order=None):
            dataset = tf.data.Dataset.from_tensor_slices((X, y))
            return dataset.shuffle(96, seed=order).batch(16)

        class Batches(keras.utils.PyDataset):
            def __init__(self, y=Y):
                super().__init__()
                self.y = y

            def __len__(self):
                return 6

            def __getitem__(self, index):
                return X[16 * index : 16 * index + 16], self.y[16 * index : 16 * index + 16]

        late = np.r_[Y[:-1], (Y[-1] + 1) % CLASSES]
        for name, make in (("tf", stream), ("keras", Batches)):
            arguments = {"data": make(), "validation_data": make(), "test_data": make()}
            folder = begun(tmp_path / name, **arguments)
            begun(folder, **arguments)
            for argument, split in (("data", "training"), ("test_data", "test")):
                self.refused(
                    folder, rf"samples.{split}.samples: another content", **{**arguments, argument: make(late)}
                )

    def test_streams_of_other_samples_each_time_are_told(self, tmp_path):
        def noisy():
            dataset = tf.data.Dataset.from_tensor_slices((X, Y))
            noise = functools.partial(tf.numpy_function, lambda: RNG.normal(size=8).astype("float32"), [], "float32")
            return dataset.map(lambda x, y: (x + tf.ensure_shape(noise(), [8]), y)).batch(16)

        arguments = {"data": noisy(), "validation_data": (X, Y)}
        folder = begun(tmp_path / "run", **arguments)
        assert "training data are other samples in each reading" in notes_of(folder, **arguments)
        with mock.patch("tfcompress.fingerprint.samples._MOST_BYTES", 1000):
            assert "only their form is compared" in notes_of(tmp_path / "large", **arguments)

    def test_models(self, tmp_path):
        folder = begun(tmp_path / "run", model=network(optimizer="sgd"))
        self.refused(folder, "model.weights: differ in layers dense", network(seed=1, optimizer="sgd"))
        self.refused(folder, "model.architecture: differs in", network(activation="tanh", optimizer="sgd"))

        def scaled(factor):
            def loss(y, outputs):
                return factor * keras.losses.sparse_categorical_crossentropy(y, outputs)

            return network(optimizer="sgd", loss=loss)

        folder = begun(tmp_path / "other", model=scaled(1))
        begun(folder, scaled(1))
        self.refused(folder, "objective.loss.reads.factor: 1 in the folder, 2 now", scaled(2))

    def test_harmless_changes_go_on(self, tmp_path):
        keras.backend.clear_session(free_memory=False)
        method = Uniform(epochs=1, steps=2, batch_size=32)
        first = compress(tmp_path / "run", network(optimizer="sgd", metrics=["accuracy"]), method=method)
        keras.backend.clear_session(free_memory=False)
        network()  # the next names are others
        model = network(optimizer=keras.optimizers.Adam(0.5), metrics=["accuracy"], run_eagerly=False)
        again = compress(tmp_path / "run", model, method=method)
        assert [edit.group for edit in again.trail.last] != [edit.group for edit in first.trail.last]
        assert {edit.group for edit in again.trail.last} <= {layer.name for layer in model.layers}
        assert_same(again, first)
        assert_same(compress(tmp_path / "run", network(), method=method), first)  # not compiled at all

    def test_names_in_settings(self, tmp_path):
        keras.backend.clear_session(free_memory=False)
        model = network()
        folder = begun(tmp_path / "run", model=model, exclude=model.layers[1].name)
        other = network()
        begun(folder, other, exclude=other.layers[1].name)
        self.refused(folder, "control", other, exclude=other.layers[2].name)

    def test_what_cannot_be_compared_is_told_and_not_reused(self, tmp_path):
        score = functools.partial(lambda table, y, outputs: keras.ops.sum(outputs, axis=-1), iter([1.0]))
        notes = notes_of(tmp_path / "run", objective=score)
        assert "objective[0] is an object of the class builtins.list_iterator" in notes
        self.refused(tmp_path / "run", "can be compared .*list_iterator", objective=score)

    def test_a_folder_of_an_earlier_version(self, tmp_path):
        (tmp_path / "run.json").write_text(json.dumps({"model": "3f", "method": {"name": "uniform"}, "seed": 0}))
        self.refused(tmp_path, "which an earlier version wrote.*Give another folder")

    def test_a_folder_of_the_layout_before_trails_is_refused_before_data_is_looked_at(self, tmp_path):
        begun(tmp_path / "run")
        older = json.loads((tmp_path / "run" / "run.json").read_text())["content"] | {"format": 2}
        write_json(tmp_path / "run" / "run.json", older)
        with mock.patch.object(workflow, "given_splits", side_effect=AssertionError("data was looked at")):
            self.refused(tmp_path / "run", "of format 4. Received: .* of format 2, .*another version.*delete this one")


class TestDamage:
    """One bit flipped in each file: the same outcome, or an error of ours that names the file."""

    METHOD = Uniform(epochs=1, batch_size=64)

    @pytest.fixture(scope="class")
    def runs(self, tmp_path_factory):
        """`(result, finished run folder, half-finished one)`."""
        root = tmp_path_factory.mktemp("runs")
        expected = compress(root / "finished", method=self.METHOD)
        shutil.copytree(root / "finished", root / "half")
        shutil.rmtree(root / "half" / "result")
        shutil.rmtree(root / "half" / "checkpoints" / "fine-tuning" / "finished")
        return expected, root / "finished", root / "half"

    @pytest.mark.parametrize("which", ["finished", "half"])
    def test_each_file_of_a_run(self, runs, which, tmp_path):
        expected = runs[0]
        source = dict(zip(("finished", "half"), runs[1:], strict=True))[which]
        files = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file()]
        names = {str(path) for path in files}
        assert {"run.json", "before.json", "search.json", "source.keras"} <= names
        # But for results, which are written anew, and what nobody reads.
        files = [file for file in files if file.parts[0] not in ("result", ".lock")]
        if which == "finished":
            chosen = [file for file in files if len(file.parts) == 1 or file.parent.name == "finished"]
        else:
            chosen = [
                file for file in files if "epoch-" in str(file) and file.name.startswith(("info", "tensors.data"))
            ]
        assert len(chosen) == (8 if which == "finished" else 2)
        told = []
        for number, file in enumerate(chosen):
            folder = tmp_path / str(number)
            shutil.copytree(source, folder)
            content = bytearray((folder / file).read_bytes())
            content[len(content) // 2] ^= 1
            (folder / file).write_bytes(content)
            try:
                with mock.patch("tfcompress.training.checkpoints.log"):
                    result = compress(folder, method=self.METHOD, verbose=0)
            except RunFolderError as error:
                assert str(folder / file) in str(error), error
                told.append(str(file))
            else:
                assert_same(result, expected)
            shutil.rmtree(folder)
        assert told == ([] if which == "half" else ["run.json"])

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("before.json", b""),
            ("before.json", b'{"sha256": 1, "content": {"accuracy": 0.5}}'),
            ("search.json", b"\xff\xfe"),
            ("source.keras", b""),
        ],
    )
    def test_other_damage_is_mended_and_said(self, runs, name, content, tmp_path):
        expected, finished, _ = runs
        shutil.copytree(finished, tmp_path / "run")
        (tmp_path / "run" / name).write_bytes(content)
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            result = compress(tmp_path / "run", method=self.METHOD, verbose=2)
        assert_same(result, expected)
        said = f"{shown.getvalue()} {result.notes}"
        assert f"{name} is damaged" in said
        assert "is made again" in said

    def test_a_search_that_trained_is_made_again_from_its_checkpoints(self, tmp_path):
        method = Uniform(epochs=0, steps=2, step_epochs=1, batch_size=64)
        expected = compress(tmp_path / "run", method=method)
        (tmp_path / "run" / "search.json").write_bytes(b"")
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            assert_same(compress(tmp_path / "run", method=method, verbose=2), expected)
        assert "training after step 1: finished before" in shown.getvalue()
        assert "this run was finished before; only files" in shown.getvalue()


def full(path, free):
    """Fills the file system of `path` but for `free` bytes."""
    size = shutil.disk_usage(path).free - free
    with open(path / "filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 1))


class TestFullDisk:
    METHOD = Uniform(epochs=2, batch_size=32)

    @pytest.fixture
    def small_disk(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
        try:
            mounted = subprocess.run(command, capture_output=True, text=True).returncode == 0
        except OSError:
            mounted = False
        if not mounted:
            pytest.skip("this user may not mount a small disk")
        yield disk
        subprocess.run(["umount", "-l", str(disk)], check=True)

    def test_a_small_disk(self, small_disk, tmp_path):
        """Full in an epoch, and while the result is saved; with room it goes on to the same end."""
        expected = compress(tmp_path / "elsewhere", method=self.METHOD)
        run = small_disk / "run"
        record = callbacks.Recorder.on_epoch_end

        def fill_at(number):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == number:
                    full(small_disk, 8192)
                record(self, epoch, logs)

            return on_epoch_end

        def save(self, folder):
            full(small_disk, 8192)
            return original(self, folder)

        original = tfcompress.Result.save
        for patch in (
            mock.patch.object(callbacks.Recorder, "on_epoch_end", fill_at(1)),
            mock.patch.object(tfcompress.Result, "save", save),
        ):
            with patch, pytest.raises(NoRoomError) as caught:
                compress(run, method=self.METHOD)
            text = str(caught.value)
            assert "\n" not in text and str(run) in text and " free" in text and "repeat the same call" in text
            (small_disk / "filler").unlink()
        assert_same(compress(run, method=self.METHOD), expected)

    @pytest.mark.parametrize("failing", ["json", "tensors", "model", "result"])
    def test_every_kind_of_file(self, failing, tmp_path):
        error = tf.errors.ResourceExhaustedError(None, None, "run/x.data; No space left on device")
        patches = {
            "json": mock.patch("pathlib.Path.write_text", side_effect=OSError(28, "No space left on device")),
            "tensors": mock.patch("tfcompress.training.checkpoints._write_tensors", side_effect=error),
            "model": mock.patch.object(keras.Model, "save", side_effect=OSError("errno = 28, error message = '...'")),
            "result": mock.patch.object(tfcompress.Result, "save", side_effect=OSError(122, "Disk quota exceeded")),
        }
        with patches[failing], pytest.raises(RunFolderError, match=r"No space left|Disk quota"):
            compress(tmp_path / "run", method=Uniform(epochs=1))
        left = [path.name for path in (tmp_path / "run").rglob("*") if ".part" in path.name]
        assert not left


class TestInterrupted:
    def test_the_command_says_in_one_line_how_to_go_on(self, tmp_path):
        from absl.testing import flagsaver

        from tfcompress import cli

        network().save(tmp_path / "model.keras")
        record = callbacks.Recorder.on_epoch_end

        def interrupt(self, epoch, logs=None):
            record(self, epoch, logs)
            if epoch == 1:
                signal.raise_signal(signal.SIGINT)

        def command():
            argv = ["compress", str(tmp_path / "model.keras"), "--method", "uniform", "--data", "digits"]
            argv += ["--flops-budget", "0.6", "--set", "epochs=3", "--run-dir", str(tmp_path / "run")]
            out, err = io.StringIO(), io.StringIO()
            data = tfcompress.data.NamedData("digits", CLASSES, lambda x: x, None, named_arrays())
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                flagsaver.flagsaver(),
                mock.patch("tfcompress.data.given.load", return_value=data),
                pytest.raises(SystemExit) as end,
            ):
                cli.main(argv)
            return end.value.code, out.getvalue(), err.getvalue()

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
        try:
            with mock.patch.object(callbacks.Recorder, "on_epoch_end", interrupt):
                code, _, err = command()
        finally:
            signal.signal(signal.SIGINT, before)
        assert code == 130
        assert err.count("\n") == 1 and str(tmp_path / "run") in err and "the same command goes on" in err
        code, out, err = command()
        assert code == 0, err
        assert "going on with epoch 3 of 3" in out


def named_arrays():
    from tfcompress.data.named.loading import NamedArrays

    return NamedArrays("digits", (X, Y), None, CLASSES)
