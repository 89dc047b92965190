"""What all tests share: TensorFlow is quiet, and Keras runs on it whatever this machine's settings say."""

import gc
import importlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "helpers"))  # modules that several tests share

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow does so by itself only where the processor has AVX-512; it runs channels_first convolutions with oneDNN only.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Here and once, so that the seconds it takes are charged to no test.
import keras  # noqa: F401
import pytest
import tensorflow as tf

# A collection would look at all of TensorFlow each time, and graphs of TensorFlow cause many: a tenth of a test's time.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 10, 10)


def pytest_configure(config):
    """Leaves TensorFlow's optimiser of graphs (Grappler) out, but for `-m slow`.

    It takes longer for each graph than running the graph so few times: a tenth of a test's time. What a user's program
    does with it is seen by slow tests, the recipes' smoke runs and the quickstart.
    """
    if config.option.markexpr == "not slow":
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def pytest_collection_modifyitems(items):
    """Leaves out `test_session`: a deprecated method of tf.test.TestCase that only looks like a test."""
    items[:] = [item for item in items if item.name != "test_session"]


@pytest.fixture(scope="session", autouse=True)
def nothing_measured_on_this_machine():
    """Few tests need TFLite files of the model before and after, which take a second or more; see test_result.py."""
    from tfcompress import outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome, "on_this_machine", lambda *_, **__: ({}, {}, ""))
        yield


@pytest.fixture(scope="module", autouse=True)
def modules_before_are_frozen():
    """Collections look at what a module of tests makes, not at a million objects that packages and caches hold.

    TensorFlow Lite's converter collects each time: half a second of it at the end of a worker's session. What is garbage
    when a module begins is collected before.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def recipe(monkeypatch):
    """Loads a module of recipes/, as a run of it does."""
    folder = pathlib.Path(__file__).parents[1] / "recipes"
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)
