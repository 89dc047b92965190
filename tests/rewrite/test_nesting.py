"""Nested models come back as nested models, pruned or not, and compute what the flat student does."""

import keras
import numpy as np
import pytest
import small_tasks
import topologies
from keras import layers

import tfcompress
from tfcompress.network import Network
from tfcompress.plan import KeepChannels, Plan, RemoveLayers
from tfcompress.rewrite import apply, replay
from tfcompress.rewrite.working_copy import nested_copy


def tree_of(model):
    """The names of layers, those of nested models in brackets, without inputs."""
    return [
        (layer.name, tree_of(layer)) if isinstance(layer, keras.Model) else layer.name
        for layer in model.layers
        if not isinstance(layer, layers.InputLayer)
    ]


def compared(model, student, nested):
    """The largest difference of the outputs of a flat student and its nested copy."""
    rng = np.random.default_rng(0)
    inputs = [rng.random((3, *tensor.shape[1:]), dtype="float32") for tensor in model.inputs]
    inputs = inputs[0] if len(inputs) == 1 else inputs
    pairs = zip(*(keras.tree.flatten(each(inputs, training=False)) for each in (student, nested)), strict=True)
    return max(float(np.abs(np.asarray(a, "float32") - np.asarray(b, "float32")).max()) for a, b in pairs)


def halved(network):
    """A plan that keeps the first half of the channels of each group that can be cut."""
    groups = [group for group in network.groups.groups.values() if group.size > 1]
    return Plan(tuple(KeepChannels(group.name, tuple(range(-(-group.size // 2)))) for group in groups))


@pytest.mark.parametrize(
    "name",
    [
        "nested_functional",
        "nested_sequential",
        "nested_twice_deep",
        "sequential_in_sequential",
        "names_that_collide",
        "nested_in_training_mode",
        "nested_backbone",
        "nested_called_twice",
    ],
)
def test_every_layer_is_where_it_was_under_its_name(name):
    model = topologies.build(name).model
    network = Network(model)
    for plan in (Plan(), halved(network)):
        student = Network(apply(model, plan, network.groups))
        nested = nested_copy(network.graph, student)
        assert compared(model, student.model, nested) <= 1e-6
        if name == "nested_called_twice":
            assert nested is student.model
        else:
            assert tree_of(nested) == tree_of(model)


def test_layers_of_the_copy_are_its_own():
    """Each is called once, so that its output can be asked for."""
    model = topologies.build("nested_backbone").model
    network = Network(model)
    nested = nested_copy(network.graph, Network(apply(model, Plan(), network.groups)))
    backbone = nested.get_layer("backbone")
    tap = keras.Model(backbone.input, backbone.layers[2].output)
    assert tap(np.zeros((2, 6, 5, 3), "float32")).shape[0] == 2
    assert all(len(layer._inbound_nodes) == 1 for layer in backbone.layers)


def test_what_is_removed_in_a_nested_model_is_missing_there():
    inputs = keras.Input((6, 5, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for number in (1, 2):
        x = layers.Add(name=f"sum{number}")([x, layers.Conv2D(4, 3, padding="same", name=f"conv{number}")(x)])
    backbone = keras.Model(inputs, x, name="backbone")
    model = keras.Sequential([keras.Input((6, 5, 3)), backbone, layers.GlobalAveragePooling2D(), layers.Dense(3)])
    network = Network(model)
    student = Network(apply(model, Plan((RemoveLayers(("conv2", "sum2")),)), network.groups))
    nested = nested_copy(network.graph, student)
    assert compared(model, student.model, nested) <= 1e-6
    assert tree_of(nested)[0] == ("backbone", ["stem", "conv1", "sum1"])


def test_new_layers_between_those_of_a_nested_model_lie_in_it():
    """A pruned sum of two widths gets a layer of its own."""
    inputs = keras.Input((6, 5, 3))
    x = layers.Conv2D(4, 1, name="a")(inputs)
    y = layers.Conv2D(6, 1, name="b")(x)
    backbone = keras.Model(inputs, layers.Conv2D(2, 1, name="c")(layers.Concatenate(name="both")([x, y])), name="inner")
    outer = keras.Input((6, 5, 3))
    model = keras.Model(outer, layers.Flatten(name="flat")(backbone(outer)))
    network = Network(model)
    flat = keras.Input((6, 5, 3))
    x = layers.Conv2D(4, 1, name="a")(flat)
    x = layers.ReLU(name="new")(layers.Conv2D(6, 1, name="b")(x))
    other = keras.Model(flat, layers.Flatten(name="flat")(layers.Conv2D(2, 1, name="c")(x)))
    nested = nested_copy(network.graph, Network(other))
    assert compared(model, other, nested) <= 1e-6
    assert tree_of(nested) == [("inner", ["a", "b", "new", "c"]), "flat"]


def _transfer_learning():
    """A frozen backbone, whose layers have the names that Keras makes up, pooling, a head."""
    inputs = keras.Input((8, 8, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(inputs)))
    backbone = keras.Model(inputs, layers.Conv2D(8, 3, padding="same", name="second")(x), name="backbone")
    backbone.trainable = False
    head = [layers.GlobalAveragePooling2D(), layers.Dense(4, activation="softmax")]
    model = keras.Sequential([keras.Input((8, 8, 1)), backbone, *head])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_a_backbone_comes_back_from_compress_and_from_the_saved_result(tmp_path):
    """The usual transfer learning: a frozen backbone, pooling, a head; saved, loaded, rebuilt from the trail."""
    model = _transfer_learning()
    x, y = small_tasks.pictures(64)
    method = tfcompress.methods.Uniform(epochs=1)
    result = tfcompress.compress(model, method, (x, y), flops_budget=0.6, run_dir=tmp_path / "run", verbose=0)
    assert tree_of(result.model) == tree_of(model)
    assert result.model.get_layer("backbone").get_layer("second").filters < 8
    expected = result.model.predict(x, verbose=0)
    loaded = tfcompress.Result.load(tmp_path / "run")
    rebuilt = tfcompress.Result.load(tmp_path / "run", model=model)
    for each in (loaded.model, rebuilt.model):
        assert tree_of(each) == tree_of(model)
        np.testing.assert_allclose(each.predict(x, verbose=0), expected, atol=1e-6)
    # The same architecture built again, with other names: the trail is for it too.
    again = _transfer_learning()
    assert tree_of(again) != tree_of(model)
    student = replay(again, result.trail, tmp_path / "run")
    assert tree_of(student) == tree_of(again)
    np.testing.assert_allclose(student.predict(x, verbose=0), expected, atol=1e-6)
    text = result.trail.to_json()
    assert replay(again, tfcompress.Trail.from_json(text)).count_params() == result.model.count_params()
    with pytest.raises(ValueError, match=r"with 7 layers\. Received: one with 6"):
        replay(keras.Sequential([*_transfer_learning().layers[:-1]]), result.trail)
    report = result.export(tmp_path / "export", formats=["keras", "tflite"])
    assert all(file.max_difference < 1e-4 for file in report.files)
