"""Sparse TFLite files: smaller, run by LiteRT, and with the same weights when they are decoded."""

import tempfile

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tfcompress.export import convert, export, run_tflite, sparse_tensors


def network(zeros):
    """A network most of whose weights lie in wide layers; `zeros(rng, kernel)` sets some of them to zero."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(32, 3, activation="relu", name="conv")(inputs)
    x = layers.Flatten()(layers.MaxPooling2D(3)(layers.Conv2D(64, 1, name="point")(x)))
    model = keras.Model(inputs, layers.Dense(10, name="head")(layers.Dense(64, "relu", name="wide")(x)))
    rng = np.random.default_rng(0)
    for name in ("conv", "point", "wide", "head"):
        kernel = model.get_layer(name).kernel
        kernel.assign(zeros(rng, rng.standard_normal(kernel.shape)) * 0.1)
    return model


def three_quarters(rng, kernel):
    return np.where(np.abs(kernel) > np.quantile(np.abs(kernel), 0.75), kernel, 0)


def blocks(rng, kernel):
    if kernel.ndim == 4 or len(kernel) % 4:
        return kernel
    kept = rng.random((len(kernel) // 4, kernel.shape[1])) > 0.75
    return kernel * np.repeat(kept, 4, axis=0)


class SparseTest(tf.test.TestCase):
    def assertDecodes(self, model, content, names):
        decoded = {tensor.values.shape: tensor.values for tensor in sparse_tensors(content)}
        for name in names:
            kernel = np.moveaxis(model.get_layer(name).kernel.numpy(), -1, 0)
            self.assertAllEqual(decoded.pop(kernel.shape), kernel)
        self.assertEmpty(decoded)

    def test_three_quarters_of_zeros_halve_the_file_at_least(self):
        model = network(three_quarters)
        dense, sparse = convert(model), convert(model, "sparse")
        self.assertLess(len(sparse), 0.5 * len(dense))
        self.assertDecodes(model, sparse, ("conv", "point", "wide", "head"))
        self.assertEqual(sparse_tensors(dense), ())
        x = np.random.default_rng(1).random((3, 8, 8, 3), "float32")
        (expected,), (actual,) = (run_tflite(content, x).values() for content in (dense, sparse))
        self.assertAllClose(expected, actual, rtol=1e-6, atol=1e-7)

    def test_blocks_are_stored_as_blocks(self):
        model = network(blocks)
        content = convert(model, "sparse")
        self.assertDecodes(model, content, ("wide", "head"))
        for tensor in sparse_tensors(content):
            self.assertEqual(tensor.block, (4,))
            self.assertEqual(tensor.stored_bytes, 4 * np.count_nonzero(tensor.values))

    def test_an_exported_file_is_run_and_compared(self):
        report = export(
            network(three_quarters), self.enterContext(tempfile.TemporaryDirectory()), "tflite", ("sparse", None)
        )
        self.assertEqual([file.quantize for file in report.files], ["float32", "sparse"])
        self.assertFalse(any(file.suspect for file in report.files))
        self.assertLess(report.files[1].max_difference, 1e-5)

    def test_files_that_are_ready_are_written_and_compared_too(self):
        model, folder = network(three_quarters), self.enterContext(tempfile.TemporaryDirectory())
        report = export(model, folder, "tflite", ready={"sparse": convert(model, "sparse")})
        self.assertEqual([file.quantize for file in report.files], ["float32", "sparse"])
        other = network(lambda rng, kernel: -kernel)
        with self.assertWarnsRegex(UserWarning, r"model_sparse.tflite does not compute"):
            report = export(model, folder, "tflite", ready={"sparse": convert(other, "sparse")}, on_mismatch="warn")
        self.assertTrue(report.files[1].suspect)
        for wrong in ({"other": b""}, {"sparse": "text"}, [b""]):
            with self.assertRaisesRegex(ValueError, "^Expected `ready` to be .*contents of TFLite files"):
                export(model, folder, "tflite", ready=wrong)


class DecodingTest(tf.test.TestCase):
    def content(self, values, shape, order, block_map, axes):
        """A file with one sparse tensor, put together by hand."""
        model, graph, tensor = schema.ModelT(), schema.SubGraphT(), schema.TensorT()
        kept, empty = schema.BufferT(), schema.BufferT()
        kept.data = np.asarray(values, "float32").view(np.uint8)
        tensor.name, tensor.shape, tensor.type, tensor.buffer = "t", list(shape), schema.TensorType.FLOAT32, 1
        tensor.sparsity = schema.SparsityParametersT()
        tensor.sparsity.traversalOrder, tensor.sparsity.blockMap = order, block_map
        tensor.sparsity.dimMetadata = axes
        graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor], [], [], []
        model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [empty, kept], []
        import flatbuffers

        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def axis(self, size=None, segments=(), indices=()):
        made = schema.DimensionMetadataT()
        made.format = 0 if size is not None else 1
        if size is not None:
            made.denseSize = size
            return made
        for name, numbers in (("arraySegments", segments), ("arrayIndices", indices)):
            vector = schema.Uint8VectorT()
            vector.values = np.array(numbers, np.uint8)
            setattr(made, name, vector)
            setattr(made, f"{name}Type", schema.SparseIndexVector.Uint8Vector)
        return made

    def test_rows_with_single_values(self):
        axes = [self.axis(3), self.axis(segments=(0, 1, 1, 3), indices=(2, 0, 3))]
        (tensor,) = sparse_tensors(self.content([1, 2, 3], (3, 4), [0, 1], [], axes))
        self.assertAllEqual(tensor.values, [[0, 0, 1, 0], [0, 0, 0, 0], [2, 0, 0, 3]])

    def test_columns_first_and_blocks_of_two_by_two(self):
        # Of the blocks of a 4 x 4 tensor, the columns first: the second of the first column, the first of the second.
        axes = [self.axis(2), self.axis(segments=(0, 1, 2), indices=(1, 0)), self.axis(2), self.axis(2)]
        (tensor,) = sparse_tensors(self.content(range(1, 9), (4, 4), [1, 0, 2, 3], [0, 1], axes))
        self.assertAllEqual(tensor.values, [[0, 0, 5, 6], [0, 0, 7, 8], [1, 2, 0, 0], [3, 4, 0, 0]])
        self.assertEqual(tensor.block, (2, 2))


if __name__ == "__main__":
    tf.test.main()
