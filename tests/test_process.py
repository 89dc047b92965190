"""State of the whole process: changed for a while, and put back whoever else was there meanwhile."""

import contextlib
import ctypes
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import warnings

import pytest

from tfcompress import process
from tfcompress.process import ignored_warnings, quiet, quiet_output
from tfcompress.training import checkpoints


@contextlib.contextmanager
def standard_error():
    """A file in the place of descriptor 2."""
    with tempfile.TemporaryFile() as caught:
        saved = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield caught
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def said(caught):
    caught.seek(0)
    return caught.read()


def test_quiet_silences_descriptor_2_and_gives_it_back():
    with standard_error() as caught:
        os.write(2, b"before ")
        with quiet():
            os.write(2, b"within ")
            with quiet():
                os.write(2, b"deeper ")
            os.write(2, b"within ")
        os.write(2, b"after")
        assert said(caught) == b"before after"


def test_threads_that_overlap_give_it_back_in_any_order():
    """A begins, B begins, A ends, B ends: B's "before" would be A's silence."""
    with standard_error() as caught:
        first, second = quiet(), quiet()
        steps = [first.__enter__, second.__enter__, lambda: first.__exit__(None, None, None)]
        for step in steps:
            thread = threading.Thread(target=step)
            thread.start()
            thread.join()
            os.write(2, b"lost ")
        second.__exit__(None, None, None)
        os.write(2, b"heard")
        assert said(caught) == b"heard"


def test_it_is_given_back_after_an_error_and_by_many_threads():
    def work():
        for _ in range(20):
            with contextlib.suppress(KeyError), quiet():
                os.write(2, b"lost")
                raise KeyError

    with standard_error() as caught:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.write(2, b"heard")
        assert said(caught) == b"heard"
    descriptors = len(os.listdir("/proc/self/fd"))
    work()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_who_redirects_meanwhile_keeps_what_he_chose():
    with standard_error(), tempfile.TemporaryFile() as other:
        with quiet():
            os.dup2(other.fileno(), 2)
        os.write(2, b"heard")
        assert said(other) == b"heard"


def test_a_process_without_standard_error():
    with standard_error():
        os.close(2)
        with quiet():
            pass
        os.dup2(1, 2)  # for the way back


def test_streams_and_handlers_stay_the_same_objects(monkeypatch):
    stream, error = sys.stdout, sys.stderr
    with quiet():
        assert sys.stdout is stream and sys.stderr is error
        handler = logging.StreamHandler()
    assert handler.stream is sys.stderr and not handler.stream.closed
    monkeypatch.setattr(sys, "stderr", None)
    with quiet():
        pass


def test_only_the_named_warnings_are_ignored_and_only_meanwhile():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with ignored_warnings("known .*fault"):
            warnings.warn("Known old fault of another", stacklevel=1)
            warnings.warn("something else", stacklevel=1)
        warnings.warn("known fault", stacklevel=1)
        with ignored_warnings(module=__name__), ignored_warnings(module="another"):
            warnings.warn("from here", stacklevel=1)
        assert warnings.filters == before
    assert [str(warning.message) for warning in shown] == ["something else", "known fault"]


def test_filters_of_others_survive_threads_that_overlap():
    with warnings.catch_warnings():
        warnings.resetwarnings()
        first, second = ignored_warnings("a"), ignored_warnings("a")
        first.__enter__()
        second.__enter__()
        warnings.filterwarnings("error", "mine")
        first.__exit__(None, None, None)
        assert len(warnings.filters) == 2
        second.__exit__(None, None, None)
        assert [entry[0] for entry in warnings.filters] == ["error"]
        with ignored_warnings("a"):
            warnings.resetwarnings()
        assert warnings.filters == []


def test_what_is_logged_leaves_the_root_logger_to_the_program(monkeypatch, capsys):
    """absl's own functions would add a handler, and `logging.basicConfig` does nothing where there is one."""
    monkeypatch.setattr(logging.root, "handlers", [])
    damaged = checkpoints.Checkpoints("nowhere")
    damaged.skipped = ["heard"]
    damaged._say_skipped("nothing is used instead")
    assert logging.root.handlers == []
    assert "heard; nothing is used instead" in capsys.readouterr().err


def test_the_level_of_absl_is_put_back():
    before = process.log.level
    with pytest.raises(KeyError), process.absl_level_kept():
        process.log.setLevel(35)
        raise KeyError
    assert process.log.level == before


def run_quietly(first, verbose, steps):
    """What a program prints that loads Keras first or tfcompress first, whose compress() traces `steps` networks."""
    code = f"""
import os
{first}
import tfcompress
from tfcompress.methods import Uniform
import perceptrons, small_tasks
assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ
model = perceptrons.perceptron(24, 24)
print("begin", flush=True); os.write(2, b"begin\\n")
tfcompress.compress(model, Uniform(epochs=1, steps={steps}), small_tasks.pictures(64), flops_budget=0.5, verbose={verbose})
print("end", flush=True); os.write(2, b"end\\n")
"""
    folders = [str(pathlib.Path(__file__).parent / "helpers"), str(pathlib.Path(__file__).parents[1])]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = os.pathsep.join(folders)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout, ended.stderr


def test_a_program_that_loads_tfcompress_first_sees_nothing_of_tensorflow():
    assert run_quietly("", 0, steps=1) == ("begin\nend\n", "begin\nend\n")


@pytest.mark.parametrize(("level", "inside", "heard"), [(None, "3", ""), ("2", "2", ""), ("0", "0", "said\n")])
def test_a_level_of_the_user_stays_and_only_0_lets_all_be_heard(monkeypatch, capfd, level, inside, heard):
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    if level is not None:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    with process.quiet_tensorflow():
        os.write(2, b"said\n")
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == inside
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level
    assert capfd.readouterr().err == heard


def test_what_tensorflow_says_before_a_call_is_all_it_says():
    shown, errors = run_quietly("import keras", 1, steps=6)
    assert "fine-tuning  epoch 1/1" in shown
    assert errors.partition("begin\n")[2] == "end\n"


def test_what_tensorflow_logs_of_files_and_tracing_is_left_out_and_nothing_else():
    logger, heard = logging.getLogger("tensorflow"), []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logger.addHandler(handler)
    try:
        with process.without_chatter(), process.absl_level_kept():
            logger.error("Assets written to: %s", "/tmp/x")
            logger.error("5 out of the last 5 calls to f triggered tf.function retracing.")
            logger.error("something else")
        logger.error("Assets written to: y")
    finally:
        logger.removeHandler(handler)
    assert heard == ["something else", "Assets written to: y"]


def test_quiet_output_silences_what_c_writes_and_nothing_before_or_after(capfd):
    c = ctypes.CDLL(None)
    c.puts(b"before")
    with quiet_output():
        c.puts(b"within")
    c.puts(b"after")
    c.fflush(None)
    assert capfd.readouterr().out == "before\nafter\n"
