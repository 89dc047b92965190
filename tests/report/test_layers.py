"""Layers before and after, and the picture of them: of every kind of edit, and of results that do not know."""

import json

import keras
import matplotlib.colors
import pytest
import shown_results
import small_tasks
from keras import layers

import tfcompress
from tfcompress import KeepChannels, Plan, Reconfigure, RemoveLayers, ReplaceLayers, Result, Trail
from tfcompress.manifest import write_manifest
from tfcompress.network import Network
from tfcompress.report.layer_plot import draw_structure
from tfcompress.report.layers import layer_changes, layers_of


def seen(result):
    """`{layer: (change, channels, by)}` of layers that are not kept."""
    changes = {row.name: (row.change, row.channels, row.by) for row in layer_changes(result)}
    return {name: change for name, change in changes.items() if change[0] != "kept"}


def drawn(result):
    """The names, the texts and the shares of the bars in color, row by row."""
    (axes,) = draw_structure(result).axes
    bars = [bar for bar in axes.patches if matplotlib.colors.to_hex(bar.get_facecolor()) != "#dddddd"]
    texts = [text.get_text() for text in axes.texts]
    names = [label.get_text() for label in axes.get_yticklabels()]
    return list(zip(names, texts, [round(bar.get_width(), 3) for bar in bars], strict=True))


def test_facts_of_layers():
    """A stem from 1 to 6 channels at 4 x 4 places, of 3 x 3 kernels; the head reads 2 x 2 x 6 numbers."""
    facts = {row.name: row for row in layers_of(Network(shown_results.network()))}
    stem, norm, head = facts["stem"], facts["bn1"], facts["head"]
    assert (stem.kind, stem.channels, stem.macs, stem.params) == ("Conv2D", 6, 16 * 9 * 6, 9 * 6)
    assert (norm.channels, norm.params) == (5, 2 * 5)
    assert (head.channels, head.macs, head.params) == (4, 24 * 4, 24 * 4 + 4)
    assert [stem.is_drawn, norm.is_drawn] == [True, False]
    assert {row.kind for row in facts.values() if row.is_drawn} == {"Conv2D", "Dense"}
    assert "image" not in facts


def test_channels_that_are_kept():
    result = shown_results.result()
    changes = seen(result)
    assert changes["block1_conv1"] == ("fewer channels", (5, 2), "")
    assert changes["bn1"] == ("fewer channels", (5, 2), "")
    assert {"stem", "block1_conv2", "block2_conv1", "head"}.isdisjoint(changes)
    # The second convolution of the block keeps its channels and reads fewer.
    row = {row.name: row for row in layer_changes(result)}["block1_conv2"]
    assert (row.channels, row.sums("params")) == ((6, 6), (9 * 5 * 6, 9 * 2 * 6))
    assert drawn(result) == [
        ("stem", "6", 1.0),
        ("block1_conv1", "5 → 2", 0.4),
        ("block1_conv2", "6", 1.0),
        ("block2_conv1", "7", 1.0),
        ("block2_conv2", "6", 1.0),
        ("head", "4", 1.0),
    ]


def test_layers_that_are_removed_replaced_or_set_anew():
    cheap = keras.Sequential([layers.DepthwiseConv2D(3, padding="same", name="dw"), layers.Conv2D(7, 1, name="pw")])
    edits = ReplaceLayers.by(("block2_conv1", "bn2"), cheap), Reconfigure("stem", {"kernel_size": 1})
    source = shown_results.network()
    names = [layer.name for layer in source.layers]
    start = names.index("block1_conv1")
    block = tuple(names[start : names.index("block2_conv1")])
    result = shown_results.result(Plan((*edits, RemoveLayers(block)), weights="fresh"), source)
    changes = seen(result)
    assert changes["block1_conv1"] == ("removed", (5, None), "")
    assert changes["stem"] == ("kernel_size=1", (6, 6), "")
    assert changes["block2_conv1"] == ("replaced", (7, 7), "3x3 DepthwiseConv2D + 1x1 Conv2D")
    assert changes["bn2"] == ("replaced", (7, None), "together with block2_conv1")
    rows = {row.name: row for row in layer_changes(result)}
    assert [facts.name for facts in rows["block2_conv1"].after] == ["block2_conv1_dw", "block2_conv1_pw"]
    # 9 x 6 and 6 biases for the one, 6 x 7 and 7 for the other.
    assert rows["block2_conv1"].sums("params") == (9 * 6 * 7, 54 + 6 + 42 + 7)
    pictures = {name: (text, share) for name, text, share in drawn(result)}
    assert pictures["block1_conv2"] == ("6 → removed", 0.0)
    assert pictures["block2_conv1"] == ("7, 3x3 depthwise + 1x1 conv", 1.0)
    assert pictures["stem"] == ("6, kernel_size=1", 1.0)


def test_a_replacement_of_a_replacement_stands_for_the_first_layer():
    source = shown_results.network()
    first = Plan((ReplaceLayers.by(("block2_conv1",), layers.Conv2D(7, 1, name="a")),), weights="fresh")
    middle = tfcompress.rewrite.apply(source, first)
    second = Plan((ReplaceLayers.by(("block2_conv1_a",), layers.Conv2D(7, 3, padding="same", name="b")),))
    third = Plan((KeepChannels("block2_conv1_a_b", (0, 1, 2)),))
    student = tfcompress.rewrite.apply(tfcompress.rewrite.apply(middle, second), third)
    result = shown_results.result(Plan(), source, model=student, trail=Trail((first, second, third)))
    assert seen(result)["block2_conv1"] == ("replaced", (7, 3), "3x3 Conv2D")


def test_a_student_that_was_given_has_nothing_in_common():
    other = small_tasks.residual_network(activation="softmax", inner=(5,))
    result = shown_results.result(Plan(), model=other)
    changes = [(row.name, row.change) for row in layer_changes(result)]
    assert ("stem", "removed") in changes and ("stem", "new") in changes
    assert {change for _, change in changes} == {"removed", "new"}


def test_loaded_results_know_their_layers_and_those_of_the_format_before_need_the_model(tmp_path):
    source = shown_results.network()
    result = shown_results.result(source=source)
    result.save(tmp_path)
    assert Result.load(tmp_path).layers_before == result.layers_before
    file = tmp_path / "result.json"
    data = json.loads(file.read_text())
    del data["layers_before"]
    file.write_text(json.dumps({**data, "format": 4}))
    write_manifest(tmp_path)
    old = Result.load(tmp_path)
    assert (old.layers_before, old.seed) == ((), 3)
    with pytest.raises(ValueError, match=r"^Expected a result that knows.*Result.load\(folder, model=...\)"):
        old.plot("structure")
    assert Result.load(tmp_path, model=source).layers_before == result.layers_before
