"""The table of latencies: what is measured, what is one entry, what the file holds, and the parts of a network."""

import json

import keras
import pytest
from keras import layers

from tfcompress import zoo
from tfcompress.costs import Latency, LatencyTable, Term, latency_of_parts
from tfcompress.costs import latency_table as module

OVERHEAD = 0.5


class Measure:
    """Stands for LiteRT: a millisecond for each weight of a kernel or layer without one, and the overhead."""

    def __init__(self):
        self.models = []

    def __call__(self, model, *, batch, threads):
        self.models.append(model)
        ms = sum(layer.kernel.shape[-1] if hasattr(layer, "kernel") else 1 for layer in model.layers[1:])
        is_overhead = isinstance(model.layers[-1], layers.Rescaling)
        return Latency(OVERHEAD + (0 if is_overhead else ms) * batch, 0.125, 30, batch, threads, True)


@pytest.fixture
def measure():
    return Measure()


@pytest.fixture
def table(tmp_path, measure):
    return LatencyTable(tmp_path / "runs" / "latency.json", measure=measure)


def block(name, filters=4, **settings):
    return [layers.Conv2D(filters, 3, name=name, **settings), layers.BatchNormalization(name=f"{name}_bn")]


def test_equal_pieces_are_measured_once_whatever_they_are_called(table, measure):
    assert table.of(block("a"), [(8, 8, 3)]) == 4 + 1
    count = len(measure.models)
    assert count == 2  # the overhead, and the piece
    assert table.of(block("b", kernel_initializer="zeros"), [(8, 8, 3)]) == 5
    assert table.of([keras.Sequential(block("c"))], ((8, 8, 3),)) == 5
    assert len(measure.models) == count


@pytest.mark.parametrize(
    "settings", ({"filters": 5}, {"strides": 2}, {"padding": "same"}, {"use_bias": False}, {"dilation_rate": 2})
)
def test_what_changes_the_computation_is_another_piece(table, measure, settings):
    table.of(block("a"), [(8, 8, 3)])
    count = len(measure.models)
    table.of(block("a", **settings), [(8, 8, 3)])
    assert len(measure.models) == count + 1
    table.of(block("a"), [(8, 9, 3)])
    assert len(measure.models) == count + 2


def test_how_layers_are_joined_is_part_of_a_piece(table, measure):
    image = keras.Input((4, 4, 2))
    first, second = layers.ReLU()(image), layers.Activation("tanh")(image)
    table.of_model(keras.Model(image, layers.Subtract()([first, second])))
    count = len(measure.models)
    table.of_model(keras.Model(image, layers.Subtract()([second, first])))
    table.of_model(keras.Model(image, keras.ops.pad(image, [[0, 0], [1, 1], [0, 0], [0, 0]])))
    table.of_model(keras.Model(image, keras.ops.pad(image, [[0, 0], [0, 0], [1, 1], [0, 0]])))
    assert len(measure.models) == count + 3
    table.of_model(keras.Model(image, keras.ops.pad(image, [[0, 0], [1, 1], [0, 0], [0, 0]])))
    assert len(measure.models) == count + 3


def test_batch_threads_and_device_have_entries_of_their_own(table, measure, monkeypatch):
    assert table.of(block("a"), [(8, 8, 3)]) == 5
    many = LatencyTable(table.path, batch=10, measure=measure)
    assert many.of(block("a"), [(8, 8, 3)]) == 50
    count = len(measure.models)
    assert count == 3  # the overhead is that of one sample
    LatencyTable(table.path, threads=2, measure=measure).of(block("a"), [(8, 8, 3)])
    monkeypatch.setattr(module, "device", lambda: {"cpu": "another"})
    LatencyTable(table.path, measure=measure).of(block("a"), [(8, 8, 3)])
    assert len(measure.models) == count + 4


def test_the_file_is_read_and_added_to(table, measure):
    table.of(block("a"), [(8, 8, 3)])
    again = LatencyTable(str(table.path), measure=measure)
    another = LatencyTable(table.path, measure=measure)
    count = len(measure.models)
    assert again.of(block("x"), [(8, 8, 3)]) == 5
    assert len(measure.models) == count
    again.of(block("a", 6), [(8, 8, 3)])
    another.of(block("a", 7), [(8, 8, 3)])  # which has not seen the entry of the one before
    assert len(LatencyTable(table.path).entries) == 4
    assert [path.name for path in table.path.parent.iterdir()] == ["latency.json"]
    data = json.loads(table.path.read_text())
    assert data["format"] == 1
    entry = list(data["entries"].values())[1]
    assert entry["piece"] == "Conv2D > BatchNormalization"
    assert entry["inputs"] == [[8, 8, 3]]
    assert (entry["median_ms"], entry["spread_ms"], entry["runs"], entry["batch"]) == (5.5, 0.125, 30, 1)


@pytest.mark.parametrize(
    "text", ("", "[]", '{"format": 2, "entries": {}}', '{"format": 1, "entries": {"a": {"b": 1}}}')
)
def test_another_file_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "latency.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"Expected a latency table of format 1.*latency\.json.*measured again"):
        LatencyTable(path)
    assert path.read_text() == text


def test_several_inputs_dtypes_models_and_nothing(table):
    assert table.of([layers.Add()], [(8, 8, 4)] * 2) == 2  # an input beside the first is a layer too
    assert table.of([layers.Embedding(9, 4)], [(7,)], ["int32"]) == 1
    assert table.of([], [(8, 8, 4)]) == 0
    same = [layers.ReLU(name="same"), layers.ReLU(name="same")]
    assert table.of(same, [(8,)]) == 2
    image = keras.Input((8, 8, 3))
    inner = keras.Model(image, layers.ReLU()(layers.Conv2D(2, 3)(image)))
    assert table.of([inner, layers.Flatten()], [(8, 8, 3)]) == 2


def test_layers_are_not_changed(table):
    conv = layers.Conv2D(4, 3)
    table.of([conv], [(8, 8, 3)])
    assert not conv.built
    model = zoo.resnet20((8, 8, 3))
    before = [len(layer._inbound_nodes) for layer in model.layers]
    latency_of_parts(model, table)
    assert [len(layer._inbound_nodes) for layer in model.layers] == before


def test_a_term_in_whole_nanoseconds_for_a_node_or_what_may_stand_there(tmp_path):
    def measured(model, **settings):
        ms = 0.25 if isinstance(model.layers[-1], layers.Conv2D) else 0.0004321
        return Latency(ms, 0.0, 1, 1, 1, True)

    table = LatencyTable(tmp_path / "latency.json", measure=measured)
    term = table.term([layers.Conv2D(4, 3)], [(8, 8, 3)], alternative="3x3DS")
    assert isinstance(term, Term)
    assert (term.factor, term.widths, term.alternative) == (249_568, (), "3x3DS")
    assert table.term([layers.ReLU()], [(8, 8, 3)]).factor == 0  # never below


def test_parts_of_a_network(table):
    model = zoo.resnet20((8, 8, 3))
    parts = latency_of_parts(model, table)
    names = [name for part in parts for name in part.nodes]
    layer_names = [operation.name for operation in model.operations if not isinstance(operation, layers.InputLayer)]
    assert sorted(names) == sorted(layer_names)
    assert parts[0].nodes == ("stem_conv", "stem_bn", "stem_relu")
    assert ("section1_block1_conv2", "section1_block1_bn2") in [part.nodes for part in parts]
    assert ("section1_block1_add", "section1_block1_relu2") in [part.nodes for part in parts]
    padded = [f"section2_block1_{name}" for name in ("conv1_pad", "conv1", "bn1", "relu1")]
    assert tuple(padded) in [part.nodes for part in parts]
    assert parts[0].ms == 16 + 2
    # Two blocks of three are alike in each section, and so are the shapes of what is in them.
    assert len(table.entries) < len(parts)


def test_parts_of_a_preactivation_network_have_their_normalisation_apart(table):
    parts = latency_of_parts(zoo.resnet20_v2((8, 8, 3)), table)
    assert ("section1_block1_bn1", "section1_block1_relu1") in [part.nodes for part in parts]
    assert ("section1_block1_conv1", "section1_block1_bn2", "section1_block1_relu2") in [part.nodes for part in parts]


def test_refused(tmp_path, table):
    conv = [layers.Conv2D(4, 3)]
    for shapes in (None, (), (8, 8, 3), [(8, None, 3)], [(8, 0, 3)], "shape"):
        with pytest.raises(ValueError, match="Expected `input_shapes`"):
            table.of(conv, shapes)
    with pytest.raises(ValueError, match="Expected `dtypes` to be 1 dtypes"):
        table.of(conv, [(8, 8, 3)], ["float32", "int32"])
    with pytest.raises(TypeError, match="Expected `layers`"):
        table.of([3], [(8, 8, 3)])
    for name in ("batch", "threads"):
        with pytest.raises(ValueError, match=f"Expected `{name}`"):
            LatencyTable(tmp_path / "t.json", **{name: 0})
    with pytest.raises(TypeError, match="Expected `measure`"):
        LatencyTable(tmp_path / "t.json", measure=3)
