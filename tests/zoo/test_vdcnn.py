"""VDCNN: closed forms of its counts, k-max pooling, and what compressing and exporting it need."""

import pathlib

import counted
import keras
import numpy as np
import pytest
import small_tasks
import tensorflow as tf

from tfcompress import zoo
from tfcompress.costs import cost
from tfcompress.export import convert, run_tflite
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Uniform
from tfcompress.rewrite import apply
from tfcompress.rewrite.verify import verify

LENGTH = 79  # becomes 40, 20 and 10, of which 8 are taken


def vdcnn(blocks, lengths=(1014, 507, 254, 127), alphabet=69, classes=2, shortcut=False):
    """`(params, macs)` of the network with so many blocks in each section; `lengths` are those of the sections."""
    params, macs, channels = (alphabet + 1) * 16 + 3 * 16 * 64, lengths[0] * 3 * 16 * 64, 64
    for width, repeat, length in zip((64, 128, 256, 512), blocks, lengths, strict=True):
        for _ in range(repeat):
            entries = 3 * channels * width + 3 * width * width
            entries += channels * width if shortcut and channels != width else 0
            params += entries + 2 * 2 * width
            macs += length * entries
            channels = width
    dense = 8 * 512 * 2048 + 2048 * 2048 + 2048 * classes
    return params + dense + 2048 + 2048 + classes, macs + dense


def k_max_pooling(x, k):
    """numpy `[batch, channels, k]`: of each channel the k largest, the others struck out."""
    rows = x.transpose(0, 2, 1).reshape(-1, x.shape[1])
    rows = [row[np.isin(np.arange(len(row)), np.argsort(-row, kind="stable")[:k])] for row in rows]
    return np.reshape(rows, (x.shape[0], x.shape[2], k))


def texts(count=4, length=LENGTH):
    return np.random.default_rng(0).integers(0, 70, (count, length)).astype("int32")


class CountsTest(counted.CountedTest):
    def test_all_depths(self):
        # Table 2 of the paper: 2, 2, 2, 2 convolutions a section; 4, 4, 4, 4; 10, 10, 4, 4. One more, and three Dense.
        self.assertEqual(vdcnn((1, 1, 1, 1)), (14_172_002, 302_725_120))
        for depth, blocks in {9: (1, 1, 1, 1), 17: (2, 2, 2, 2), 29: (5, 5, 2, 2)}.items():
            with self.subTest(depth=depth):
                self.assertEqual(depth, 1 + 2 * sum(blocks))
                self.check(getattr(zoo, f"vdcnn{depth}")(), *vdcnn(blocks))

    def test_other_sizes(self):
        model = zoo.vdcnn17(LENGTH, alphabet=37, classes=5, shortcut=True)
        self.check(model, *vdcnn((2, 2, 2, 2), (79, 40, 20, 10), 37, 5, shortcut=True))
        names = [layer.name for layer in model.layers if layer.name.endswith("_shortcut_conv")]
        self.assertEqual(names, [f"section{n}_block1_shortcut_conv" for n in (2, 3, 4)])


class VdcnnTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keras.utils.set_random_seed(0)
        cls.model = zoo.vdcnn9(LENGTH, classes=3)

    def test_k_max_pooling_keeps_the_largest_in_their_order(self):
        # [5, 1, 7, 3, 9, 2, 8, 4, 6, 0, ...]: the eight largest of ten are all but 0 and 1.
        x = np.array([5, 1, 7, 3, 9, 2, 8, 4, 6, 0], "float32")
        x = np.stack([x, x[::-1]], -1)[None]
        expected = [[5, 7, 3, 9, 2, 8, 4, 6], [6, 4, 8, 2, 9, 3, 7, 5]]
        self.assertAllEqual(k_max_pooling(x, 8)[0], expected)
        before = self.model.get_layer("section4_block1_relu2").output
        probe = keras.Model(self.model.input, [before, self.model.get_layer("flatten").output])
        features, pooled = (np.asarray(output) for output in probe(texts()))
        self.assertEqual(features.shape, (4, 10, 512))
        self.assertAllEqual(pooled, k_max_pooling(features, 8).reshape(4, -1))

    def test_section_halves_the_length_symmetrically(self):
        """The largest of a position, the one before and the one after it."""
        ends = [self.model.get_layer(name).output for name in ("section1_block1_relu2", "section2_pool")]
        before, after = (np.asarray(output) for output in keras.Model(self.model.input, ends)(texts()))
        self.assertEqual((before.shape, after.shape), ((4, 79, 64), (4, 40, 64)))
        self.assertAllEqual(after[:, 1:39], np.max([before[:, 1:77:2], before[:, 2:78:2], before[:, 3:79:2]], axis=0))
        self.assertAllEqual(after[:, 0], before[:, :2].max(axis=1))

    def test_half_of_the_macs_gone_is_what_masks_give(self):
        task = small_tasks.task_without_data(self.model, {"macs": 0.5})
        plan = Uniform(epochs=0).search(task).plan
        student = apply(self.model, plan, task.groups)
        self.assertLessEqual(cost(student).macs, task.costs.total.macs // 2)
        self.assertLess(verify(self.model, plan, student, texts(), groups=task.groups), 1e-4)
        # The last convolution is cut through the k-max pooling, with the 8 columns of each channel behind it.
        kept = student.get_layer("section4_block1_conv2").filters
        self.assertLess(kept, 512)
        self.assertEqual(student.get_layer("head_dense1").kernel.shape[0], 8 * kept)

    def test_nothing_is_unknown(self):
        groups = ChannelGroups.of(LayerGraph.from_keras(self.model))
        self.assertEqual(list(groups.unknown), [])
        self.assertEqual([fixed.layer for fixed in groups.fixed], ["classifier"])

    def test_file_loads_where_only_keras_is_installed(self):
        path = pathlib.Path(self.get_temp_dir()) / "vdcnn.keras"
        self.model.save(path)
        self.assertNotIn("tfcompress", self.model.to_json())
        self.assertNotIn("Lambda", self.model.to_json())
        self.assertAllEqual(keras.models.load_model(path)(texts()), self.model(texts()))

    @pytest.mark.slow
    def test_tflite_with_builtin_operators(self):
        outputs = run_tflite(convert(self.model), texts())
        self.assertAllClose(outputs["classifier"], self.model(texts()), atol=1e-5)

    def test_probabilities(self):
        self.assertIs(zoo.vdcnn9(57, classifier_activation="softmax").layers[-1].activation, keras.activations.softmax)
        self.assertIs(self.model.layers[-1].activation, keras.activations.linear)

    def test_bad_settings_are_refused(self):
        with self.assertRaisesRegex(ValueError, "at least 57.*length=56"):
            zoo.vdcnn9(56)
        with self.assertRaisesRegex(ValueError, "length=None"):
            zoo.vdcnn9(None)
        with self.assertRaisesRegex(ValueError, "alphabet=0"):
            zoo.vdcnn9(alphabet=0)


if __name__ == "__main__":
    tf.test.main()
