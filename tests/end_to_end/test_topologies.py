"""Every topology of tests/helpers/topologies, built once and cut twice for all that must be true of it.

One cut leaves a random part of each group, the other one channel of each. Building and cutting them takes longer than
what is asked of them: so all that is asked of every topology is in this file, which one process runs.
"""

import functools
import pathlib
import zipfile

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
import topologies

from tfcompress.costs import Cost, CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.rewrite.subnetwork import Subnetwork


@functools.cache
def cut_of(name):
    """A topology cut to some of its channels, its graph read anew for that: snapshots before and after, the student."""
    built = topologies.build(name)
    before = oracles.snapshot(built.model, built.inputs)
    student = apply(built.model, oracles.plan_of(name, "some"), through_norms=built.groups.through_norms)
    return before, oracles.snapshot(built.model, built.inputs), student


# Called as if in training: their statistics move with each call of a model.
IN_TRAINING = ("nested_in_training_mode",)


@functools.cache
def student_of(name, kind):
    """The topology cut by its plan of this kind; the first of its cuts is the one whose source is looked at."""
    some = cut_of(name)[2]
    return some if kind == "some" else oracles.student_of(name, kind)


@functools.cache
def received_of(name, kind):
    """Outputs of a student's first call."""
    return oracles.call(student_of(name, kind), topologies.build(name).inputs)


@functools.cache
def graph_of(name, kind):
    """The graph of a student."""
    return LayerGraph.from_keras(student_of(name, kind))


def every_cut():
    """`(name, kind of plan, topology, plan)` for each topology and each plan."""
    for name in topologies.TOPOLOGIES:
        for kind in oracles.PLANS:
            yield name, kind, topologies.build(name), oracles.plan_of(name, kind)


class SourceTest(tf.test.TestCase):
    def test_there_are_enough_topologies(self):
        self.assertGreaterEqual(len(topologies.TOPOLOGIES), 100)

    def test_the_source_is_not_changed(self):
        for name in topologies.TOPOLOGIES:
            with self.subTest(name=name):
                before, after, _ = cut_of(name)
                for what in before:
                    self.assertEqual(after[what], before[what], what)

    def test_source_and_student_share_nothing(self):
        for name, kind, built, _ in every_cut():
            with self.subTest(name=name, kind=kind):
                student = student_of(name, kind)
                old = {id(op) for op in [built.model, *oracles.operations_of(built.model)]}
                new = {id(op) for op in [student, *oracles.operations_of(student)]}
                self.assertEqual(old & new, set())
                self.assertEqual({id(v) for v in built.model.variables} & {id(v) for v in student.variables}, set())


class MaskedAgainstCutTest(tf.test.TestCase):
    """The first oracle: zeros for every consumer's weights that read what is removed, in the original."""

    def test_the_cut_model_gives_the_outputs_of_the_masked_original(self):
        for name, kind, built, _ in every_cut():
            with self.subTest(name=name, kind=kind):
                error = oracles.relative_error(received_of(name, kind), oracles.expected_of(name, kind))
                self.assertLessEqual(error, built.topology.tolerance)

    def test_the_masks_matter(self):
        """The oracle could not tell right from wrong if masks changed nothing, or if outputs ignored the inputs."""
        for name in topologies.TOPOLOGIES:
            model, groups, inputs = topologies.build(name)
            if not len(groups):
                continue
            with self.subTest(name=name):
                whole = oracles.call(model, inputs)
                masked = oracles.expected_of(name, "some")
                self.assertGreater(oracles.relative_error(masked, whole), 1e-3)
                self.assertGreater(max(float(np.std(array, axis=0).max()) for array in masked), 1e-4)

    def test_each_layer_that_writes_a_group_has_as_many_channels_as_the_plan_keeps(self):
        for name, kind, built, plan in every_cut():
            with self.subTest(name=name, kind=kind):
                self.check_written_channels(graph_of(name, kind).operations, built, plan)

    def check_written_channels(self, operations, built, plan):
        kept = {edit.group: len(edit.indices) for edit in plan}
        names, owners = list(built.groups.groups), built.groups.group_of_labels()
        for layer, axes in built.groups.weight_axes().items():
            before = [id(v) for v in getattr(built.groups.graph.operations[layer], "variables", ())]
            for weight in axes:
                after = operations[layer].variables[before.index(id(weight.variable))]
                for axis, ids in weight.writes.items():
                    written = [names[owner] for owner in owners[ids].tolist() if owner >= 0]
                    stay = sum(kept[g] * written.count(g) // built.groups[g].size for g in set(written))
                    self.assertEqual(after.shape[axis], stay + len(ids) - len(written), f"{layer}, axis {axis}")


class SubnetworkTest(tf.test.TestCase):
    def test_every_topology_runs_as_its_cut_self_with_one_trace(self):
        for name in topologies.TOPOLOGIES:
            with self.subTest(name):
                model, groups, inputs = topologies.build(name)
                subnetwork = Subnetwork(model, groups)
                for kind in oracles.PLANS:
                    expected = received_of(name, kind)  # first: it skips what cannot run here
                    received = oracles.flat(subnetwork.predict(oracles.plan_of(name, kind), inputs))
                    if name in IN_TRAINING:  # rewards are taken outside of training
                        student = apply(model, oracles.plan_of(name, kind), groups)
                        expected = oracles.flat(student(inputs, training=False))
                    tolerance = topologies.TOPOLOGIES[name].tolerance
                    self.assertLess(oracles.relative_error(received, expected), tolerance)
                self.assertEqual(subnetwork.traces, 1)


class CostTest(tf.test.TestCase):
    """The second oracle: the cost predicted from a plan is the cost counted on the model that it makes."""

    def test_predicted_and_counted_costs_agree_to_the_digit(self):
        for name in topologies.TOPOLOGIES:
            predicted = CostModel(topologies.build(name).groups)
            for kind in oracles.PLANS:
                with self.subTest(name=name, kind=kind):
                    student = student_of(name, kind)
                    of_plan = predicted.of(oracles.plan_of(name, kind))
                    self.assertEqual(of_plan, cost(student))
                    # And by a walk that asks no handler.
                    self.assertEqual(of_plan.macs, oracles.walked_macs(student))
                    self.assertEqual(of_plan.params, oracles.walked_params(student))
                    self.assertEqual(of_plan.bytes, oracles.walked_bytes(student))

    def test_whole_models_by_a_walk(self):
        for name in topologies.TOPOLOGIES:
            with self.subTest(name=name):
                model, groups, _ = topologies.build(name)
                walked = Cost(oracles.walked_macs(model), oracles.walked_params(model), oracles.walked_bytes(model))
                self.assertEqual(CostModel(groups).total, walked)
                self.assertEqual(CostModel(groups).of(Plan()), walked)

    def test_the_smallest_was_worked_out_by_hand(self):
        """Nothing prunable may be left whole."""
        for name, entry in topologies.TOPOLOGIES.items():
            with self.subTest(name=name):
                self.assertEqual(CostModel(topologies.build(name).groups).smallest.macs, entry.smallest)

    def test_fewer_channels_never_cost_more(self):
        for name in topologies.TOPOLOGIES:
            with self.subTest(name=name):
                predicted = CostModel(topologies.build(name).groups)
                total, smallest = predicted.total, predicted.smallest
                for group in range(len(predicted.sizes)):
                    kept = predicted.sizes.copy()
                    kept[group] = 1
                    narrow = predicted.of_kept(kept)
                    self.assertTrue(smallest.macs <= narrow.macs <= total.macs)
                    self.assertTrue(smallest.params <= narrow.params <= total.params)

    def test_shares_of_layers_add_up(self):
        for name in topologies.TOPOLOGIES:
            with self.subTest(name=name):
                predicted = CostModel(topologies.build(name).groups)
                rows = predicted.by_layer()
                sums = Cost(*(sum(getattr(row, what) for row in rows) for what in ("macs", "params", "bytes")))
                self.assertEqual(sums, predicted.total)


class GraphTest(tf.test.TestCase):
    def test_every_node_comes_after_those_it_reads(self):
        for name in topologies.TOPOLOGIES:
            with self.subTest(name=name):
                graph = topologies.build(name).groups.graph
                done = set()
                for node in graph.nodes.values():
                    self.assertTrue({ref.node for ref in node.inputs} <= done)
                    done.add(node.name)
                self.assertTrue({ref.node for ref in graph.output_refs} <= done)
                pairs = {(ref, node.name) for node in graph.nodes.values() for ref in node.inputs}
                self.assertEqual(pairs, {(ref, name) for ref, names in graph.readers.items() for name in names})

    def test_groups_come_in_the_order_of_the_graph(self):
        for name in topologies.TOPOLOGIES:
            with self.subTest(name=name):
                groups = topologies.build(name).groups
                first = {}  # of each label, the node at which it is seen first
                for place, item in enumerate(groups.analysis.values()):
                    seen = [labels.ids for labels in item.outputs]
                    seen += [ids for weight in item.weights for ids in weight.writes.values()]  # heads
                    for root in groups.roots[np.concatenate(seen)].tolist():
                        first.setdefault(root, place)
                places = [min(first[root] for root in group.roots.tolist()) for group in groups]
                self.assertEqual(places, sorted(places))
                for group in groups:
                    self.assertEqual(len(group.roots), group.size)
                    self.assertIs(groups[group.name], group)

    def test_no_label_is_in_two_groups_or_in_none(self):
        for name in topologies.TOPOLOGIES:
            with self.subTest(name=name):
                groups = topologies.build(name).groups
                roots = np.concatenate([group.roots for group in groups]) if len(groups) else np.zeros(0)
                self.assertEqual(len(np.unique(roots)), len(roots))
                owners = groups.group_of_labels()
                for layer, item in groups.layers.items():
                    written = [ids for weight in item.weights for ids in weight.writes.values()]
                    if written:
                        fixed = owners[np.unique(np.concatenate(written))] < 0
                        stay = sum(f.channels for f in groups.fixed if f.layer == layer)
                        self.assertEqual(int(fixed.sum()), stay, layer)


class StudentTest(tf.test.TestCase):
    def test_names_types_and_calls_are_kept(self):
        for name, kind, built, _ in every_cut():
            with self.subTest(name=name, kind=kind):
                old, new = built.groups.graph, graph_of(name, kind)
                self.assertEqual(old.name, new.name)
                # Layers once each, so what was shared is shared; and every call with its name, in the same order.
                self.assertEqual(
                    [(n, type(op)) for n, op in old.operations.items()],
                    [(n, type(op)) for n, op in new.operations.items()],
                )
                self.assertEqual(
                    [(n.name, n.layer_name, n.inputs) for n in old.nodes.values()],
                    [(n.name, n.layer_name, n.inputs) for n in new.nodes.values()],
                )

    def test_structure_of_inputs_and_outputs_is_kept(self):
        for name, kind, built, _ in every_cut():
            if isinstance(built.model, keras.Sequential):
                continue
            with self.subTest(name=name, kind=kind):
                student = student_of(name, kind)
                for ours, theirs in ((student.input, built.model.input), (student.output, built.model.output)):
                    keras.tree.assert_same_structure(ours, theirs)
                    self.assertEqual(
                        [(t.shape, t.dtype) for t in keras.tree.flatten(ours)],
                        [(t.shape, t.dtype) for t in keras.tree.flatten(theirs)],
                    )

    @pytest.mark.slow
    def test_students_load_where_only_keras_is_installed(self):
        folder = pathlib.Path(self.get_temp_dir())
        for name, entry in topologies.TOPOLOGIES.items():
            if not entry.stock:
                continue
            with self.subTest(name=name):
                student, inputs = student_of(name, "some"), topologies.build(name).inputs
                path = folder / f"{name}.keras"
                student.save(path)
                with zipfile.ZipFile(path) as archive:
                    config = archive.read("config.json").decode()
                self.assertNotIn("tfcompress", config)
                self.assertNotIn("topologies", config)
                loaded = keras.models.load_model(path)
                error = oracles.relative_error(oracles.call(loaded, inputs), oracles.call(student, inputs))
                self.assertLessEqual(error, 1e-6)
                # What a file holds is a little different, and must be read the same: lists for tuples, for one.
                groups = [str(ChannelGroups.of(LayerGraph.from_keras(model))) for model in (student, loaded)]
                self.assertEqual(*groups)


if __name__ == "__main__":
    tf.test.main()
