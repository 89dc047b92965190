"""Which methods may follow which in a flow, and which metrics each can lower."""

import dataclasses
from typing import ClassVar

import flow_methods
import tensorflow as tf

from tfcompress.methods import DARC, LIT, N2N, Method, Random, Uniform, registered_methods
from tfcompress.methods.order import KINDS, check_order, followers, lowers, obeyed


def of_kind(kind, name=None, followed_by=None):
    """A method of a kind, which does nothing."""
    members = {"kind": kind, "name": name or kind, "followed_by": followed_by}
    return dataclasses.make_dataclass("Any", [], bases=(Method,), namespace=members, frozen=True)()


class OrderTest(tf.test.TestCase):
    def test_each_pair_of_kinds(self):
        """25 pairs: a kind may be followed by later ones, and by itself but for clusters and quantisations."""
        kinds = ["layers", "channels", "sparsity", "clusters", "quantization"]
        self.assertEqual(list(KINDS), kinds)
        twice = {"layers", "channels", "sparsity"}
        for i, first in enumerate(kinds):
            for j, second in enumerate(kinds):
                works = i < j or (i == j and first in twice)
                with self.subTest(first=first, second=second):
                    if works:
                        check_order([of_kind(first), of_kind(second)])
                    else:
                        with self.assertRaisesRegex(ValueError, f"{second!r} .* comes after {first!r}"):
                            check_order([of_kind(first), of_kind(second)])

    def test_the_right_order_is_spelled_out(self):
        stages = [Uniform(), flow_methods.Rounds(), LIT()]
        with self.assertRaisesRegex(ValueError, "the kind 'layers'") as caught:
            check_order(stages)
        text = str(caught.exception)
        self.assertRegex(text, r"^Expected stages in an order that can work: layers, then channels, then sparsity")
        self.assertIn("Received: method=['uniform', 'rounds', 'lit']", text)
        self.assertTrue(text.endswith("The right order is method=['lit', 'uniform', 'rounds']."), text)

    def test_neighbours_are_not_all(self):
        """Sparsity lies between the two that do not go together."""
        lenient = of_kind("sparsity", followed_by=("layers",))
        with self.assertRaisesRegex(ValueError, "'lit' .* comes after 'uniform'"):
            check_order([Uniform(), lenient, LIT()])

    def test_what_no_order_mends(self):
        with self.assertRaisesRegex(ValueError, "followed by nothing: .*Leave out 'a' or 'b'"):
            check_order([of_kind("quantization", "a"), of_kind("quantization", "b")])

    def test_a_method_says_for_itself(self):
        last = of_kind("sparsity", "last", followed_by=("layers",))
        self.assertEqual(followers(last), ("layers",))
        check_order([last, LIT()])
        with self.assertRaisesRegex(ValueError, r"which may be followed by layers\. "):
            check_order([last, Uniform()])

        class Own(Uniform):
            kind: ClassVar[str] = "something of its own"

        check_order([Own(), Uniform()])  # it may be followed by all that is known

    def test_the_kinds_of_the_methods(self):
        kinds = {name: cls.kind for name, cls in registered_methods().items()}
        self.assertLessEqual(set(kinds.values()), set(KINDS))
        for name in ("lit", "kd", "hint", "born_again", "scratch", "darc", "replaced", "n2n"):
            self.assertEqual(kinds[name], "layers", name)
        for name in ("uniform", "random", "rlal", "amc", "taylor"):
            self.assertEqual(kinds[name], "channels", name)

    def test_metrics(self):
        for metric in ("macs", "params", "bytes", "latency_ms", "a metric of one's own"):
            self.assertTrue(lowers(LIT(), metric))
            self.assertTrue(lowers(Random(), metric))
        rounds = flow_methods.Rounds()
        self.assertEqual(
            [lowers(rounds, metric) for metric in ("macs", "params", "latency_ms", "file_bytes")],
            [False, False, True, True],
        )
        own = dataclasses.make_dataclass(
            "Own", [], bases=(Method,), namespace={"kind": "quantization", "lowers": ("params",)}, frozen=True
        )()
        self.assertEqual([lowers(own, "params"), lowers(own, "file_bytes")], [True, False])

    def test_the_control_that_each_obeys(self):
        layers = ("exclude", "only")
        every = (*layers, "ratio_limits", "round_to", "through_norms")
        methods = (LIT(), N2N(), DARC(), Uniform(), of_kind("sparsity"), of_kind("quantization"))
        self.assertEqual([obeyed(method) for method in methods], [(), (), layers, every, layers, layers])
