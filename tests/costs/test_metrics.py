"""Metrics that register themselves: columns of costs, limits of budgets, terms by node and alternative."""

import math

import keras
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress import Budget, Cost, cost
from tfcompress.costs import CostModel, Term, register_metric, registered_metrics, unregister_metric
from tfcompress.costs.metrics import metric_of
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Uniform


def activations(node):
    """The numbers that a node gives for one sample."""
    (labels,) = node.outputs
    shape = enumerate(node.node.output_shapes[0])
    return [Term(math.prod(size for axis, size in shape if axis not in (0, labels.axis)), (labels.ids,))]


def choices(node):
    """A price of 10 for each input and output channel of a convolution, of 3 in all for what may stand in its place."""
    if not isinstance(node.node.operation, layers.Conv2D):
        return []
    return [Term(10, (node.call.inputs[0].ids, node.outputs[0].ids)), Term(3, alternative="identity")]


def chain():
    """Gives 64 (input), 4 * 4 * 6, as many, 4 * 4 * 4, 4 and 3 numbers: 327."""
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.ReLU(name="relu")(layers.Conv2D(6, 3, 2, "same", name="wide")(inputs))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(4, 1, name="narrow")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="chain")


def costs_of(model):
    return CostModel(ChannelGroups.of(LayerGraph.from_keras(model)))


class MetricsTest(tf.test.TestCase):
    def register(self, name, terms, unit=None):
        register_metric(name, terms, unit)
        self.addCleanup(unregister_metric, name)

    def test_a_registered_metric_is_a_column(self):
        self.register("activations", activations)
        costs = costs_of(chain())
        self.assertEqual(costs.total["activations"], 64 + 96 + 96 + 64 + 4 + 3)
        self.assertEqual(costs.of_kept([3, 2])["activations"], 64 + 48 + 48 + 32 + 2 + 3)
        self.assertEqual(cost(chain()).others, {"activations": 327})
        rows = {row.layer: row.others["activations"] for row in costs.by_layer()}
        self.assertEqual(rows, {"image": 64, "wide": 96, "relu": 96, "narrow": 64, "pool": 4, "head": 3})
        # The other columns are what they were.
        self.assertEqual((costs.total.macs, costs.total["macs"]), (16 * 9 * 6 + 16 * 6 * 4 + 12,) * 2)

    def test_costs_are_equal_where_all_columns_are(self):
        self.assertEqual(Cost(1, 2, 3, {"a": 4}), Cost(1, 2, 3, {"a": 4}))
        self.assertNotEqual(Cost(1, 2, 3, {"a": 4}), Cost(1, 2, 3, {"a": 5}))
        self.assertEqual(len({Cost(1, 2, 3), Cost(1, 2, 3), Cost(1, 2, 3, {"a": 4})}), 2)
        with self.assertRaisesRegex(KeyError, "Expected one of .*'bytes', 'a'.*Received: 'b'"):
            Cost(1, 2, 3, {"a": 4})["b"]

    def test_terms_by_node_and_alternative(self):
        self.register("price", choices)
        costs = costs_of(chain())
        self.assertEqual(costs.total["price"], 10 * 6 + 10 * 6 * 4)  # what stands there alone is counted
        table = costs.by_node("price", [3, 2])
        self.assertEqual(table["wide"], {"wide": 10 * 3, "identity": 3})
        self.assertEqual(table["narrow"], {"narrow": 10 * 3 * 2, "identity": 3})
        self.assertEqual(table["head"], {"head": 0})

    def test_a_model_is_compressed_under_it(self):
        self.register("activations", activations)
        model = small_tasks.residual_network(activation="softmax")
        # The image 64; in 4 x 4: the stem, its norm, ReLU, and two sums of 6 channels, each with its last convolution;
        # 3 each of 5 and 7 channels; a ReLU; 4 * 6 twice; 4 classes.
        whole = 64 + 16 * 6 * 7 + 16 * 3 * 12 + 16 * 6 + 24 + 24 + 4
        self.assertEqual(cost(model)["activations"], whole)
        data, budget = small_tasks.pictures(32), {"activations": 0.5}
        result = tfcompress.compress(model, Uniform(epochs=0), data, budget=budget, verbose=0)
        left = sum(math.prod(layer.output.shape[1:]) for layer in result.model.layers)
        self.assertEqual(cost(result.model)["activations"], left)
        self.assertBetween(left, 0.45 * whole, 0.5 * whole)

    def test_names_and_units(self):
        before = registered_metrics()
        register_metric("price", choices, unit="cents")
        try:
            self.assertEqual((metric_of("price").unit, metric_of("macs").unit), ("cents", "MACs"))
            self.assertNotIn("price", before)  # what there was then
            self.assertEqual(
                list(registered_metrics()), ["macs", "params", "bytes", "file_bytes", "latency_ms", "price"]
            )
            with self.assertRaisesRegex(ValueError, "Expected `name`.*'price'.*unregister_metric"):
                register_metric("price", choices)
            with self.assertRaisesRegex(ValueError, r"2 of 9 cents.*budget\['price'\]=0.1"):
                Budget({"price": 0.1}).check_reachable(Cost(1, 1, 1, {"price": 9}), Cost(1, 1, 1, {"price": 2}))
        finally:
            unregister_metric("price")
        self.assertEqual(metric_of("price").unit, "price")  # it goes by its name
        with self.assertRaisesRegex(ValueError, "metrics, of .*'flops'.*limit 'macs'"):
            Budget({"flops": 0.5})
        with self.assertRaisesRegex(ValueError, "'price'. To add a metric"):
            Budget({"price": 0.5})

    def test_what_is_no_metric_is_refused(self):
        for name, error in (("macs", ValueError), ("no name", ValueError), (3, TypeError)):
            with self.assertRaisesRegex(error, "Expected `name`.*Received"):
                register_metric(name, activations)
        with self.assertRaisesRegex(TypeError, "Expected `terms`.*Received"):
            register_metric("activations", "activations")
        with self.assertRaisesRegex((TypeError, ValueError), "Expected `terms`.*Received"):
            register_metric("activations", lambda: [])
        with self.assertRaisesRegex(TypeError, "Expected `unit`.*Received"):
            register_metric("activations", activations, unit=3)
        for name in ("macs", "activations"):
            with self.assertRaisesRegex(ValueError, "Expected `name`.*Received"):
                unregister_metric(name)
        self.assertEqual(list(registered_metrics()), ["macs", "params", "bytes", "file_bytes", "latency_ms"])
        self.register("less", lambda node: [Term(-1)])
        with self.assertRaisesRegex(ValueError, "factor of a term of 'less' at .*0 or more.*-1"):
            costs_of(chain())


class BudgetTest(tf.test.TestCase):
    def test_limits_by_metric(self):
        total, least = Cost(1000, 400, 1600), Cost(123, 57, 300)
        budget = Budget({"macs": 0.5, "bytes": 700})
        self.assertEqual(budget.limits(total), {"macs": 500, "bytes": 700})
        self.assertEqual(dict(budget), {"macs": 0.5, "bytes": 700})
        self.assertEqual(budget, Budget({"bytes": 700}, flops=0.5))
        self.assertEqual(Budget({"macs": 350}), Budget(flops=701))
        self.assertEqual(Budget(budget), budget)
        with self.assertRaisesRegex(ValueError, r"budget\['bytes'\].*at least 0.1875 .*300 of 1,600 bytes.*=0.1\."):
            Budget({"bytes": 0.1}).check_reachable(total, least)

    def test_what_is_no_budget(self):
        for wrong, message in (
            ({"latency": 0.5}, "metrics, of .*'macs', 'params', 'bytes'.*'latency'.*register_metric"),
            ({"flops": 0.5}, "'flops'.*limit 'macs'"),
            ({"macs": 1}, r"write budget\['macs'\]=1.0"),
            ({"params": -1}, r"above 0. Received: budget\['params'\]=-1"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                Budget(wrong)
        with self.assertRaisesRegex(TypeError, "Expected `budget` to be .*a mapping"):
            Budget(0.5)
        with self.assertRaisesRegex(ValueError, r"one limit.*budget\['macs'\]=0.5 and flops_budget=0.6"):
            Budget({"macs": 0.5}, flops=0.6)
