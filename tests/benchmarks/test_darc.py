"""What DARC's relaxed network costs beside the same graph written by hand: steps, blocks, imitation, memory, traces."""

import collections
import pathlib
import re
import subprocess
import sys
from unittest import mock

import darc_parts
import measuring
import numpy as np
import pytest

import tfcompress
from tfcompress import Budget, data, zoo
from tfcompress.methods import DARC
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.task import Task
from tfcompress.training import PenalizedModel, infer

HERE = pathlib.Path(__file__).parent
PAIRS = 21


def both(left=darc_parts.ALTERNATIVES):
    """The relaxed network, and the one written by hand with its weights, which computes the same."""
    relaxed, by_hand = darc_parts.relaxed_network(left), darc_parts.ByHand(left)
    by_hand.take(relaxed)
    x, _ = darc_parts.batch_of(8)
    np.testing.assert_allclose(relaxed.network.model(x), by_hand(x), atol=1e-4)
    assert relaxed.network.model.count_params() == by_hand.count_params()
    return relaxed, by_hand


@pytest.mark.parametrize("how", ["plain", "darc"])
def test_step(table, how):
    """The same step of both: Keras' own, and DARC's with mixed images and weight decay against that written out."""
    relaxed, by_hand = both()
    batch = darc_parts.batch_of()
    if how == "plain":
        ours, reference = darc_parts.plain_step(relaxed.network.model, batch), darc_parts.plain_step(by_hand, batch)
        name = "Keras' step of the relaxed network / by hand"
    else:
        ours, reference = darc_parts.darc_step(relaxed, batch), darc_parts.written_step(by_hand, batch)
        name = "DARC's step of the relaxed network / by hand"
    pairs = measuring.interleaved(lambda: measuring.timed(ours), lambda: measuring.timed(reference), PAIRS)
    note = f"ResNet-20, all default replacements, batches of {darc_parts.BATCH}; by hand without projection and penalty"
    table.add(measuring.ratio_row(name, pairs, 1.10, note))


def test_block_by_block(table):
    """DARC's step with four alternatives left, three, two and one: of each form, and of the same written by hand."""
    batch = darc_parts.batch_of()
    counts = range(len(darc_parts.ALTERNATIVES), 0, -1)
    steps = {}
    for count in counts:
        relaxed, by_hand = both(darc_parts.ALTERNATIVES[:count])
        steps[count, "ours"] = darc_parts.darc_step(relaxed, batch)
        steps[count, "by hand"] = darc_parts.written_step(by_hand, batch)
    for step in steps.values():
        step()
    rounds = [{key: measuring.timed(step) for key, step in steps.items()} for _ in range(PAIRS)]
    for count in counts:
        pairs = [(spans[count, "ours"], spans[count, "by hand"]) for spans in rounds]
        ours = measuring.median([pair[0] for pair in pairs])
        rate = f"{1 / ours.wall_s:.2f} steps a second, {1 / ours.cpu_s:.2f} a second of CPU time"
        table.add(measuring.ratio_row(f"alternatives left: {count} / by hand", pairs, 1.10, rate))
    for count in counts[1:]:
        pairs = [(spans[count, "ours"], spans[counts[0], "ours"]) for spans in rounds]
        table.add(measuring.ratio_row(f"alternatives left: {count} / {counts[0]}", pairs, 1.0, "DARC's step"))


def cifar_task(images=500):
    """A task on a ResNet-20 with random images."""
    rng = np.random.default_rng(0)
    x, y = rng.random((images, 32, 32, 3), dtype="float32"), rng.integers(0, 10, images)
    model = zoo.resnet20()
    splits = data.splits((x, y), input_shape=model.input_shape, classes=10)
    return Task(apply(model, Plan()), splits, infer(model, y), Budget(flops=0.5))


def test_imitation(table):
    """A step of imitation against one of joint training, and all that imitation does once, in such steps."""
    network = Network(zoo.resnet20())
    batch = darc_parts.batch_of()
    relaxed = darc_parts.relaxed_network()
    ours = darc_parts.imitation_step(network, relaxed, batch)
    reference = darc_parts.darc_step(darc_parts.relaxed_network(), batch)
    pairs = measuring.interleaved(lambda: measuring.timed(ours), lambda: measuring.timed(reference), PAIRS)
    count, size = len(relaxed.learners()), darc_parts.BATCH
    note = f"ResNet-20, {count} replacements, batches of {size}; an epoch has as many of one as of the other"
    table.add(measuring.ratio_row("step of imitation / step of the relaxed network", pairs, 1.50, note))

    task, method = cifar_task(), DARC(imitation_epochs=0)

    def beforehand():
        method.imitate(task, method.units(task.costs, task.control))

    steps = 45_000 // darc_parts.BATCH
    first = measuring.timed(lambda: darc_parts.imitation_step(network, darc_parts.relaxed_network(), batch)())
    whole = [
        (measuring.timed(beforehand) + first + imitating * steps, training * steps) for imitating, training in pairs[:5]
    ]
    note = f"45,000 images; {steps} such steps, and once: units, first weights, and the first step, which is traced"
    table.add(measuring.ratio_row("imitation / an epoch of the relaxed network", whole, 1.50, note))


def peak_mib(what):
    """The high-water mark of a process of its own."""
    command = [sys.executable, str(HERE / "memory_side_darc.py"), what, "256"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def test_memory(table):
    """Peak memory of joint training against a step that is written out by hand."""
    pairs = [(peak_mib("relaxed"), peak_mib("written")) for _ in range(3)]
    ours, reference, ratio = np.median([(a, b, a / b) for a, b in pairs], axis=0)
    note = "3 pairs of fresh processes; ResNet-20, all default replacements, batches of 256, 4 steps"
    table.add(
        measuring.Row(
            "peak memory of a relaxed step / by hand",
            f"{ours:,.0f} MiB",
            f"{reference:,.0f} MiB",
            f"{ratio:.2f}",
            "-",
            1.20,
            note,
        )
    )


def test_traces(table):
    """Traces of train functions in a whole run: one in imitation, one a block, one a snapshot."""
    traces, train_step = collections.Counter(), PenalizedModel.train_step

    def traced(model, *args, **kwargs):
        traces[model.inner.name] += 1
        return train_step(model, *args, **kwargs)

    rng = np.random.default_rng(0)
    x, y = rng.random((150, 32, 32, 3), dtype="float32"), rng.integers(0, 10, 150)  # the last batch is a smaller one
    method = DARC(batch_size=32, blocks=3, block_epochs=2, epochs=2, imitation_epochs=2, strength=0.5)
    with mock.patch.object(PenalizedModel, "train_step", traced):
        result = tfcompress.compress(zoo.resnet20(), method, (x, y), params_budget=0.3, verbose=0)
    blocks = sum(re.fullmatch(r"block \d+: loss", name) is not None for name in result.history["search"])
    assert traces == {"resnet20_imitation": 1, "resnet20_mixed": blocks, "resnet20": len(result.candidates)}
    shown = (str(traces["resnet20_mixed"]), str(blocks), f"{traces['resnet20_mixed'] / blocks:.2f}")
    note = "ResNet-20, 2 epochs a phase, the last batch a smaller one; imitation and each snapshot have one trace too"
    table.add(measuring.Row("traces of train functions in blocks / blocks", *shown, "-", 1.0, note))
