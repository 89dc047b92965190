"""Stem, sections and head; what stands for removed layers."""

import keras
import tensorflow as tf
from keras import layers

from tfcompress import zoo
from tfcompress.graph import LayerGraph, TensorRef, bypasses, cut_points, find_sections


def graph_of(outputs, inputs):
    return LayerGraph.from_keras(keras.Model(inputs, outputs))


def block(x, name, filters=4, strides=1, shortcut=True):
    """conv - relu, added to what comes in."""
    y = layers.ReLU(name=f"{name}_relu")(layers.Conv2D(filters, 3, strides, "same", name=f"{name}_conv")(x))
    if not shortcut:
        return y
    if strides > 1 or x.shape[-1] != filters:
        x = layers.Conv2D(filters, 1, strides, name=f"{name}_shortcut")(x)
    return layers.Add(name=name)([x, y])


class CutPointsTest(tf.test.TestCase):
    def test_they_are_what_every_path_goes_through(self):
        x = keras.Input((8, 8, 3), name="image")
        y = block(layers.Conv2D(4, 1, name="stem")(x), "a")
        z = layers.Flatten(name="flat")(y)
        self.assertEqual(cut_points(graph_of(z, x)), ("image", "stem", "a", "flat"))

    def test_several_inputs_and_outputs(self):
        one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
        both = layers.Concatenate(name="both")([one, two])
        middle = layers.Dense(3, name="middle")(both)
        ends = [layers.Dense(2, name="left")(middle), layers.Dense(2, name="right")(middle)]
        self.assertEqual(cut_points(graph_of(ends, [one, two])), ("both", "middle"))

    def test_a_skip_connection_hides_what_it_goes_around(self):
        x = keras.Input((4, 4, 3), name="image")
        down = layers.Conv2D(4, 1, name="down")(x)
        deep = layers.Conv2D(4, 1, name="deep")(down)
        out = layers.Concatenate(name="joined")([down, deep])
        self.assertEqual(cut_points(graph_of(out, x)), ("image", "down", "joined"))


class FoundTest(tf.test.TestCase):
    def test_published_depths(self):
        """Table 6 of LIT: [3, 3, 3] is 20 layers, ..., [18, 18, 18] is 110."""
        for depth, blocks in ((20, 3), (32, 5), (44, 7), (56, 9)):
            sections = find_sections(LayerGraph.from_keras(getattr(zoo, f"resnet{depth}")()))
            self.assertEqual(sections.blocks, (blocks,) * 3)
            ends = ["stem_relu", *(f"section{s}_block{blocks}_relu2" for s in (1, 2, 3))]
            self.assertEqual(sections.boundaries, tuple(ends))

    def test_blocks_that_share_a_layer_stay(self):
        x = keras.Input((4, 4, 2))
        y = layers.Conv2D(4, 1)(x)
        shared = layers.Conv2D(4, 3, padding="same", name="shared")
        for number in range(3):
            z = layers.Conv2D(4, 3, padding="same", name=f"conv{number}")(y)
            y = layers.Add(name=f"sum{number}")([y, shared(z) if number < 2 else z])
        graph = graph_of(layers.Dense(2)(y), x)
        (section,) = find_sections(graph).sections
        self.assertEqual(section.repeated, (("conv2", "sum2"),))
        with self.assertRaisesRegex(ValueError, r"all calls of a layer .* 'shared@2'.*\['shared'\]"):
            bypasses(graph, ("conv1", "shared@2", "sum1"))

    def test_a_section_begins_with_the_block_that_changes_the_shape(self):
        sections = find_sections(LayerGraph.from_keras(zoo.resnet20()))
        second = sections.sections[1]
        self.assertEqual(second.entry.node, "section1_block3_relu2")
        self.assertIn("section2_block1_conv1", second.nodes)
        self.assertEqual([len(unit) for unit in second.repeated], [7, 7])  # conv bn relu conv bn add relu
        kept = set(second.nodes) - set(second.removed(1))
        self.assertTrue(all(name.startswith(("section2_block1", "get_item", "pad")) for name in kept), kept)

    def test_the_first_block_of_a_network_is_not_its_stem(self):
        """keras.applications' ResNet50: the first block of the first stage widens 64 channels to 256."""
        model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), include_top=False)
        sections = find_sections(LayerGraph.from_keras(model))
        self.assertEqual(sections.blocks, (3, 4, 6, 3))
        self.assertEqual(sections.boundaries[0], "pool1_pool")

    def test_blocks_without_shortcuts_are_found_by_their_repetition(self):
        x = keras.Input((8, 8, 4), name="image")
        y = x
        for i in range(3):
            y = block(y, f"b{i}", shortcut=False)
        y = layers.MaxPooling2D(name="pool")(y)
        for i in range(3, 6):
            y = block(y, f"b{i}", filters=5, shortcut=False)
        sections = find_sections(graph_of(layers.Flatten(name="flat")(y), x))
        self.assertEqual(sections.blocks, (3, 3))
        self.assertEqual(sections.sections[0].repeated[0], ("b0_conv", "b0_relu"))
        self.assertEqual(sections.sections[1].repeated, (("b4_conv", "b4_relu"), ("b5_conv", "b5_relu")))
        self.assertEqual(sections.boundaries, ("image", "b2_relu", "b5_relu"))

    def test_encoders_lose_attention_and_mlp_together(self):
        x = keras.Input((5, 6), name="tokens")
        y = layers.Dense(6, name="embedding")(x)
        for i in range(3):
            y = layers.Add(name=f"attended{i}")([y, layers.MultiHeadAttention(2, 3, name=f"attention{i}")(y, y)])
            y = layers.Add(name=f"mixed{i}")([y, layers.Dense(6, name=f"mlp{i}")(y)])
        sections = find_sections(graph_of(y, x))
        self.assertEqual(sections.blocks, (3,))
        self.assertEqual(sections.sections[0].removed(2), ("attention2", "attended2", "mlp2", "mixed2"))

    def test_encoders_that_read_a_padding_mask(self):
        """A mask that is computed of the inputs, by all blocks or in each, makes no block another's part."""
        for shared in (True, False):
            tokens, padding = keras.Input((5,), name="tokens"), keras.Input((5,), dtype="bool", name="padding")
            mask = layers.Reshape((1, 5), name="mask")(padding)
            y = layers.Embedding(9, 6, name="embedding")(tokens)
            for i in range(3):
                own = mask if shared else layers.Reshape((1, 5), name=f"mask{i}")(padding)
                attention = layers.MultiHeadAttention(2, 3, name=f"attention{i}")
                y = layers.Add(name=f"attended{i}")([y, attention(y, y, attention_mask=own)])
                y = layers.Add(name=f"mixed{i}")([y, layers.Dense(6, name=f"mlp{i}")(y)])
            sections = find_sections(graph_of(layers.Dense(2, name="head")(y), [tokens, padding]))
            self.assertEqual(sections.blocks, (3,))
            self.assertEqual(sections.boundaries, ("embedding", "mixed2"))
            last = ("attention2", "attended2", "mlp2", "mixed2")
            self.assertEqual(sections.removed((2,)), last if shared else ("mask2", *last))
            passed = bypasses(sections.graph, sections.removed((1,)))
            self.assertEqual(passed, {TensorRef("mixed2"): TensorRef("mixed0")})

    def test_a_second_tensor_of_the_same_shape_is_no_mask(self):
        x = keras.Input((4,), name="x")
        y = layers.Add(name="sum")([x, layers.Dense(4, name="dense")(x)])
        graph = graph_of(layers.Dense(2)(y), x)
        with self.assertRaisesRegex(ValueError, "made from dense.*x "):
            bypasses(graph, ("sum",))

    def test_a_single_residual_block_counts_where_it_keeps_the_shape(self):
        x = keras.Input((8, 8, 4), name="image")
        y = block(block(layers.Conv2D(4, 1, name="stem")(x), "a"), "b", filters=6, strides=2)
        sections = find_sections(graph_of(block(y, "c", filters=6), x))
        self.assertEqual(sections.blocks, (1, 2))
        self.assertEqual(sections.boundaries, ("stem", "a", "c"))

    def test_the_generator_of_stargan_is_one_section(self):
        sections = find_sections(LayerGraph.from_keras(zoo.stargan_generator((16, 16, 3), domains=2, width=4)))
        self.assertEqual(sections.blocks, (6,))

    def test_vdcnn(self):
        """Conneau et al., Table 2, in convolutions, as without shortcuts each of them is a block."""
        for depth, convolutions in ((17, (4, 4, 4, 4)), (29, (10, 10, 4, 4))):
            sections = find_sections(LayerGraph.from_keras(getattr(zoo, f"vdcnn{depth}")(length=64)))
            self.assertEqual(sections.blocks, convolutions)

    def test_a_network_without_repetition_is_refused(self):
        x = keras.Input((8, 8, 3), name="image")
        y = layers.Dense(2)(layers.Flatten()(layers.Conv2D(4, 3)(x)))
        with self.assertRaisesRegex(ValueError, "repeated blocks.*4 parts follow one another|repeated blocks"):
            find_sections(graph_of(y, x))


class LongSkipTest(tf.test.TestCase):
    """Blocks inside of what a skip connection goes around."""

    def inside(self, join, blocks=3, middle=None):
        """stem, blocks, a last convolution; `join(stem, all that follows it)`."""
        x = keras.Input((8, 8, 3), name="image")
        stem = y = layers.Conv2D(4, 3, padding="same", name="stem")(x)
        for i in range(blocks):
            y = (middle or block)(y, f"b{i}")
        y = join(stem, layers.Conv2D(4, 3, padding="same", name="last")(y))
        return find_sections(graph_of(layers.Conv2D(3, 3, padding="same", name="out")(y), x))

    def test_super_resolution(self):
        for join in (layers.Add(), layers.Concatenate()):
            sections = self.inside(lambda stem, y, join=join: layers.UpSampling2D()(join([stem, y])))
            self.assertEqual(sections.blocks, (3,))
            self.assertEqual(sections.boundaries, ("stem", "b2"))
            self.assertEqual(sections.removed((2,)), ("b2_conv", "b2_relu", "b2"))

    def test_plain_convolutions(self):
        """VDSR: the skip goes from the image to the output."""
        x = y = keras.Input((8, 8, 1), name="image")
        for i in range(5):
            y = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv{i}")(y)
        y = layers.Add()([x, layers.Conv2D(1, 3, padding="same")(y)])
        sections = find_sections(graph_of(y, x))
        self.assertEqual((sections.blocks, sections.boundaries), ((4,), ("conv0", "conv4")))

    def test_groups_of_blocks_are_the_blocks(self):
        """RCAN: the skip around all goes around groups, each with a skip around its own blocks."""

        def group(y, name):
            start = y
            for i in range(4):
                y = block(y, f"{name}_{i}")
            return layers.Add(name=name)([start, layers.Conv2D(4, 3, padding="same", name=f"{name}_last")(y)])

        sections = self.inside(lambda stem, y: layers.Add()([stem, y]), middle=group)
        self.assertEqual((sections.blocks, sections.boundaries), ((3,), ("stem", "b2")))
        self.assertLen(sections.removed((2,)), 14)

    def test_a_block_is_not_taken_apart(self):
        """Two equal convolutions before a sum, and blocks outside that are as many as those inside."""
        x = keras.Input((8, 8, 3), name="image")
        y = z = layers.Conv2D(4, 3, padding="same", name="stem")(x)
        for i in range(2):
            z = layers.Conv2D(4, 3, padding="same", name=f"conv{i}")(layers.ReLU(name=f"relu{i}")(z))
        y = layers.Add(name="sum")([y, z])
        self.assertEqual(find_sections(graph_of(layers.Flatten()(y), x)).boundaries, ("stem", "sum"))

    def test_what_is_read_outside_stays(self):
        """The last of three blocks hands something from its middle to the end."""
        x = keras.Input((8, 8, 3), name="image")
        stem = y = layers.Conv2D(4, 3, padding="same", name="stem")(x)
        for i in range(3):
            y = block(y, f"b{i}")
        z = layers.Conv2D(4, 3, padding="same", name="c_conv")(y)
        y = layers.Add(name="c")([y, layers.ReLU(name="c_relu")(z)])
        joined = layers.Concatenate()([stem, layers.Conv2D(4, 1, name="last")(y), z])
        sections = find_sections(graph_of(layers.Conv2D(3, 1, name="out")(joined), x))
        self.assertEqual((sections.blocks, sections.boundaries), ((3,), ("stem", "b2")))


class RemovedTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        x = keras.Input((8, 8, 4), name="image")
        y = block(block(block(layers.Conv2D(4, 1, name="stem")(x), "a"), "b"), "c", filters=6, strides=2)
        self.graph = graph_of(layers.Flatten(name="flat")(y), x)

    def test_blocks_beyond_those_kept(self):
        (section,) = find_sections(self.graph).sections
        self.assertEqual(section.removed(2), ())
        self.assertEqual(section.removed(1), ("b_conv", "b_relu", "b"))
        with self.assertRaisesRegex(ValueError, "between 1 and 2 blocks for section1.*Received: 3"):
            section.removed(3)

    def test_what_stands_for_their_outputs(self):
        stem, a, b = TensorRef("stem"), TensorRef("a"), TensorRef("b")
        self.assertEqual(bypasses(self.graph, ["b_conv", "b_relu", "b"]), {b: a})
        both = ["a_conv", "a_relu", "a", "b_conv", "b_relu", "b"]
        self.assertEqual(bypasses(self.graph, both), {b: stem})
        self.assertEqual(bypasses(self.graph, ["a_conv", "a_relu", "a"]), {a: stem})
        self.assertEqual(bypasses(self.graph, []), {})

    def test_another_shape_is_refused(self):
        with self.assertRaisesRegex(ValueError, r"c \(None, 4, 4, 6\), made from b \(None, 8, 8, 4\)"):
            bypasses(self.graph, ["c_conv", "c_relu", "c_shortcut", "c"])

    def test_half_a_block_is_refused(self):
        with self.assertRaisesRegex(ValueError, "made from"):
            bypasses(self.graph, ["b_relu", "b"])  # both what b_conv gives and what comes in

    def test_an_unknown_node(self):
        with self.assertRaisesRegex(KeyError, "nowhere"):
            bypasses(self.graph, ["nowhere"])

    def test_one_call_of_a_shared_layer_is_refused(self):
        shared = layers.Dense(4, name="shared")
        x = keras.Input((4,), name="x")
        graph = graph_of(shared(shared(x)), x)
        with self.assertRaisesRegex(ValueError, "'shared@2'.*also called as.*'shared'"):
            bypasses(graph, ["shared@2"])


if __name__ == "__main__":
    tf.test.main()
