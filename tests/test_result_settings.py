"""What a saved result says of the call that made it, and a damaged result of a run, which is made again."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tfcompress import Result
from tfcompress.methods import Uniform

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(64, 8)).astype("float32"), RNG.integers(0, 3, 64)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8,))
    x = layers.LayerNormalization(name="norm")(layers.Dense(10, name="wide")(inputs))
    x = layers.Dense(6, "relu", name="narrow")(x)
    return keras.Model(inputs, layers.Dense(3, "softmax", name="head")(x))


def compress(model, folder):
    limits = {"flops_budget": 300, "budget": {"bytes": 0.9}}
    control = {"exclude": "narrow", "through_norms": True}
    return tfcompress.compress(model, Uniform(epochs=0), (X, Y), **limits, **control, run_dir=folder, verbose=0)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    compress(model, path)
    return path


def test_limits_and_control_are_kept(folder):
    result = Result.load(folder)
    assert result.budget == {"macs": 150, "bytes": 0.9}  # two FLOPs are one multiply-add
    assert result.control == {"exclude": ["narrow"], "through_norms": True}
    # 8 x 10 + 2 x 10 + 10 x 6 + 6 x 3 numbers and 10 + 6 + 3 biases, 4 bytes each.
    assert f"budget: at most {788 * 9 // 10} bytes and 300 FLOPs" in result.notes
    assert "through_norms=True" in " ".join(result.notes)


def test_a_student_cut_through_norms_is_rebuilt_from_the_model(model, folder):
    loaded, rebuilt = Result.load(folder).model, Result.load(folder, model=model).model
    assert loaded.get_layer("wide").units < 10  # read by a LayerNormalization
    np.testing.assert_array_equal(loaded(X), rebuilt(X))


def test_a_damaged_result_of_a_run_is_made_again_when_it_is_moved_away(model, folder):
    file = folder / "result" / "model.keras"
    before = Result.load(folder).model(X)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FileExistsError) as error:
        compress(model, folder)
    text = str(error.value)
    assert f"Expected in '{file.parent}' only files that tfcompress wrote, unchanged. Received: model.keras." in text
    assert text.endswith("the same call makes the result again, from the checkpoints of the run.")
    file.unlink()
    compress(model, folder)
    np.testing.assert_array_equal(Result.load(folder).model(X), before)
