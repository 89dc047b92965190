import pathlib
from unittest import mock

import keras
import small_tasks
import tensorflow as tf

import tfcompress
from tfcompress.graph import LayerGraph
from tfcompress.methods import AMC, DARC, KD, LIT, RLAL, TaylorPruning, Uniform
from tfcompress.methods.amc import AgentSettings as OfAMC
from tfcompress.methods.rlal import AgentSettings
from tfcompress.network import Network
from tfcompress.rewrite.working_copy import working_copy

AGENT = AgentSettings(hidden=(4,), batch_size=4, updates_per_epoch=1, use_environment_model=False)
# By method, how many models there are: the user's, the working copy, the student; one more for a step on the way. DARC
# has the relaxed network for imitation, lambda and a block, and like Taylor pruning the student itself, its trail
# replayed, and its copy. Where no epoch is asked for, what would train is made all the same.
MODELS = {
    Uniform(epochs=0, step_epochs=0, steps=2): 4,
    RLAL(epochs=4, finetune_epochs=0, episodes_per_epoch=1, agent=AGENT): 3,
    AMC(episodes=3, epochs=0, agent=OfAMC(hidden=(4,), batch_size=4)): 3,
    TaylorPruning(runs=1, filters=100, updates=1, epochs=0): 5,
    LIT(epochs=1, finetune_epochs=0): 3,
    KD(epochs=0): 3,
    DARC(blocks=1, block_epochs=1, epochs=0, imitation_epochs=0): 8,
}


class ReadOnceTest(tf.test.TestCase):
    def test_a_graph_is_read_once_for_each_model(self):
        read, models = LayerGraph.from_keras, []

        def counted(model):
            models.append(model)  # the models themselves, so that no id is given out twice
            return read(model)

        for number, (method, count) in enumerate(MODELS.items()):
            with self.subTest(method=method), mock.patch.object(LayerGraph, "from_keras", side_effect=counted):
                models.clear()
                inner = (5, 5) if isinstance(method, KD | LIT) else (5,)  # a block for these to leave out
                model = small_tasks.residual_network(inner=inner, activation="softmax")
                folder = pathlib.Path(self.get_temp_dir()) / str(number)
                tfcompress.compress(
                    model, method, small_tasks.pictures(32), flops_budget=0.75, run_dir=folder, verbose=0
                )
                self.assertIs(models[0], model)
                self.assertLen(models, count)
                self.assertLen({id(model) for model in models}, count)


class NetworkTest(tf.test.TestCase):
    def test_all_is_of_this_very_model(self):
        network = Network(small_tasks.residual_network())
        own = {id(layer) for layer in network.model.layers}
        self.assertEqual({id(operation) for operation in network.graph.operations.values()}, own)
        self.assertIs(network.groups.graph, network.graph)
        self.assertIs(network.costs.groups, network.groups)
        self.assertIs(Network.of(network), network)

    def test_a_copy_is_another_network(self):
        network = Network(small_tasks.residual_network(), through_norms=True)
        copy = working_copy(network, small_tasks.pictures(4)[0])
        self.assertTrue(copy.through_norms)
        variables = [
            {id(axis.variable) for axes in n.groups.weight_axes().values() for axis in axes} for n in (network, copy)
        ]
        self.assertNotEmpty(variables[0])
        self.assertEmpty(variables[0] & variables[1])
        self.assertLessEqual(variables[1], {id(variable) for variable in copy.model.variables})

    def test_a_model_that_cannot_be_read_is_refused_when_its_graph_is_asked_for(self):
        class Subclassed(keras.Model):
            pass

        with self.assertRaisesRegex(TypeError, "Functional or Sequential"):
            _ = Network(Subclassed()).graph

    def test_a_task_reads_a_model_once_whatever_it_is_on(self):
        task = small_tasks.task_without_data(small_tasks.residual_network())
        other = small_tasks.residual_network(seed=1)
        self.assertIs(task.on(other).network, task.on(other).network)
        self.assertIs(task.on(other).groups, task.network_of(other).groups)
        self.assertIs(task.on(other).on(task.model).groups, task.groups)
