"""The policy networks of network-to-network compression, which read sequences of layers, and their value networks."""

import functools
import math
import types
from typing import Any

import numpy as np
import tensorflow as tf

from tfcompress.agents import _tf_agents

__all__ = ["draw_weights", "removal_actor", "removal_value", "shrinkage_actor", "shrinkage_value"]


def removal_actor(observation: Any, action: Any, units: int, layers: int) -> Any:
    """Returns a DistributionNetwork that reads a whole sequence at once and keeps (0) or removes (1) each of its steps.

    It is a bidirectional LSTM (Figure 2a of N2N); each layer reads the outputs of both directions of the one before.
    For a step that is padding or may not be removed, the logits are constants: it is kept with a log-probability of
    exactly 0, and gives no gradient.

    Args:
        observation: the specifications `sequence` float32 `[length, features]`, `steps` bool `[length]`, False at the
            end where the sequence is padded, and `allowed` bool `[length]`, True where removal is allowed.
        action: the specification of the actions, int32 `[length]`, from 0 to 1.
        units: units of each LSTM layer, in each direction.
        layers: number of LSTM layers.
    """
    return _classes().RemovalActor(observation, action, units, layers, name="removal_actor")


def removal_value(observation: Any, units: int, layers: int) -> Any:
    """Returns a Network with one value per sequence: `removal_actor`'s LSTM, its mean over the steps, a number.

    Args:
        observation: as for `removal_actor`.
        units: units of each LSTM layer, in each direction.
        layers: number of LSTM layers.
    """
    return _classes().RemovalValue(observation, units, layers, name="removal_value")


def shrinkage_actor(observation: Any, action: Any, units: int, layers: int) -> Any:
    """Returns an ActorDistributionRnnNetwork: an LSTM that reads step by step, with an action at each (Figure 2b).

    Args:
        observation: the specification of one step's input, float32 `[width]`.
        action: the specification of one action, int32 `[]`, from 0.
        units: units of each LSTM layer.
        layers: number of LSTM layers.
    """
    lib = _tf_agents.load()

    def projection(spec: Any) -> Any:
        network = lib.CategoricalProjectionNetwork(spec)
        network._projection_layer.kernel_initializer = lib.keras.initializers.Zeros()
        return network

    return lib.ActorDistributionRnnNetwork(
        observation,
        action,
        input_fc_layer_params=None,
        output_fc_layer_params=None,
        rnn_construction_fn=_unrolled,
        rnn_construction_kwargs={"units": units, "layers": layers},
        discrete_projection_net=projection,
        name="shrinkage_actor",
    )


def shrinkage_value(observation: Any, units: int, layers: int) -> Any:
    """Returns a Network with a value at each step: `shrinkage_actor`'s LSTM and a number.

    Args:
        observation: as for `shrinkage_actor`.
        units: units of each LSTM layer.
        layers: number of LSTM layers.
    """
    return _classes().ShrinkageValue(observation, units, layers, name="shrinkage_value")


def draw_weights(network: Any, rng: np.random.Generator) -> None:
    """Draws kernels: Glorot-uniform, recurrent ones orthogonal, the last near zero, so that all actions are as likely.

    Biases keep their initial values: 1 for forget gates, else 0.

    Args:
        network: a built network of this module.
        rng: the random generator to draw with.
    """
    kernels = [variable for variable in network.trainable_variables if len(variable.shape) == 2]
    for variable in kernels:
        if "recurrent" in variable.name:
            columns, _ = np.linalg.qr(rng.standard_normal(variable.shape[::-1]))
            variable.assign(columns.T.astype("float32"))
            continue
        limit = math.sqrt(6 / sum(variable.shape)) * (0.1 if variable is kernels[-1] else 1.0)
        variable.assign(rng.uniform(-limit, limit, variable.shape).astype("float32"))


# Kernels start as zeros, to be drawn by draw_weights, and cells get a seed: without, Keras would use up Python's and
# TensorFlow's global random state.


def _cell(units: int) -> Any:
    return _tf_agents.load().keras.layers.LSTMCell(
        units, kernel_initializer="zeros", recurrent_initializer="zeros", seed=0, dtype="float32"
    )


def _unrolled(units: int, layers: int) -> Any:
    lib = _tf_agents.load()
    return lib.DynamicUnroll(lib.keras.layers.StackedRNNCells([_cell(units) for _ in range(layers)]))


def _dense(units: int, name: str) -> Any:
    return _tf_agents.load().keras.layers.Dense(units, kernel_initializer="zeros", dtype="float32", name=name)


def _run(cell: Any, inputs: tf.Tensor) -> tf.Tensor:
    """Returns the outputs `[length, count, units]` of an LSTM over `[length, count, width]`.

    It is a single operation: a loop in the graph for each layer and direction takes many times as long to trace and to
    run. BlockLSTM has the gates in another order than Keras; BlockLSTMV2 does not, but its gradient is wrong.
    """
    length, count = inputs.shape[0], tf.shape(inputs)[1]
    if not cell.built:
        cell.build([None, inputs.shape[-1]])
    start, peephole = tf.zeros([count, cell.units]), tf.zeros([cell.units])
    weights = tf.concat([cell.kernel, cell.recurrent_kernel, cell.bias[tf.newaxis]], axis=0)
    i, f, c, o = tf.split(weights, 4, axis=1)
    weights = tf.concat([i, c, f, o], axis=1)
    return tf.raw_ops.BlockLSTM(
        seq_len_max=tf.constant(length, tf.int64),
        x=inputs,
        cs_prev=start,
        h_prev=start,
        w=weights[:-1],
        wci=peephole,
        wcf=peephole,
        wco=peephole,
        b=weights[-1],
        forget_bias=0.0,  # Keras has it in the bias
        cell_clip=-1.0,
        use_peephole=False,
    ).h


@functools.cache
def _classes() -> types.SimpleNamespace:
    """Returns network classes that tf-agents lacks; made after tf-agents is loaded, as subclasses of its own."""
    lib = _tf_agents.load()

    class Reader:
        """A bidirectional LSTM over sequences with one or two outer dimensions (batch, or batch and time)."""

        def make_layers(self, units: int, layers: int) -> None:
            self._forward = [_cell(units) for _ in range(layers)]
            self._backward = [_cell(units) for _ in range(layers)]

        def read(self, sequence: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
            outer = tf.shape(sequence)[:-2]
            length, features = sequence.shape[-2:]
            hidden = tf.transpose(tf.reshape(sequence, [-1, length, features]), [1, 0, 2])
            lengths = tf.reduce_sum(tf.cast(tf.reshape(steps, [-1, length]), tf.int32), axis=-1)
            for forward, backward in zip(self._forward, self._backward, strict=True):
                # Both directions read the padding last, so it changes nothing before it and needs no mask.
                turned = _run(backward, tf.reverse_sequence(hidden, lengths, seq_axis=0, batch_axis=1))
                turned = tf.reverse_sequence(turned, lengths, seq_axis=0, batch_axis=1)
                hidden = tf.concat([_run(forward, hidden), turned], axis=-1)
            hidden = tf.transpose(hidden, [1, 0, 2])
            return tf.reshape(hidden, tf.concat([outer, [length, hidden.shape[-1]]], axis=0))

    class RemovalActor(Reader, lib.DistributionNetwork):  # type: ignore[name-defined, misc]
        def __init__(self, observation: Any, action: Any, units: int, layers: int, name: str):
            logits = lib.specs.TensorSpec([*action.shape, 2], tf.float32, "logits")
            output = lib.specs.distribution_spec.DistributionSpec(
                lib.tfp.distributions.Categorical, {"logits": logits}, sample_spec=action, dtype=action.dtype
            )
            super().__init__(input_tensor_spec=observation, state_spec=(), output_spec=output, name=name)
            self.make_layers(units, layers)
            self._logits = _dense(2, "logits")

        def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
            logits = self._logits(self.read(observation["sequence"], observation["steps"]))
            free = observation["steps"] & observation["allowed"]
            logits = tf.where(free[..., tf.newaxis], logits, tf.constant([0.0, tf.float32.min]))
            return self.output_spec.build_distribution(logits=logits), network_state

    class RemovalValue(Reader, lib.Network):  # type: ignore[name-defined, misc]
        def __init__(self, observation: Any, units: int, layers: int, name: str):
            super().__init__(input_tensor_spec=observation, state_spec=(), name=name)
            self.make_layers(units, layers)
            self._value = _dense(1, "value")

        def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
            hidden = self.read(observation["sequence"], observation["steps"])
            weights = tf.cast(observation["steps"], tf.float32)[..., tf.newaxis]
            mean = tf.math.divide_no_nan(tf.reduce_sum(hidden * weights, axis=-2), tf.reduce_sum(weights, axis=-2))
            return tf.squeeze(self._value(mean), -1), network_state

    class ShrinkageValue(lib.Network):  # type: ignore[name-defined, misc]
        def __init__(self, observation: Any, units: int, layers: int, name: str):
            reader = lib.LSTMEncodingNetwork(
                observation,
                input_fc_layer_params=None,
                output_fc_layer_params=None,
                rnn_construction_fn=_unrolled,
                rnn_construction_kwargs={"units": units, "layers": layers},
            )
            super().__init__(input_tensor_spec=observation, state_spec=reader.state_spec, name=name)
            self._reader = reader
            self._value = _dense(1, "value")

        def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
            hidden, network_state = self._reader(observation, step_type=step_type, network_state=network_state)
            return tf.squeeze(self._value(hidden), -1), network_state

    return types.SimpleNamespace(RemovalActor=RemovalActor, RemovalValue=RemovalValue, ShrinkageValue=ShrinkageValue)
