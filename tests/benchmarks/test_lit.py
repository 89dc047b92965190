"""What a LIT step costs beside its unavoidable parts, in time and memory."""

import pathlib
import subprocess
import sys

import lit_parts
import measuring
import pytest
import tensorflow as tf

HERE = pathlib.Path(__file__).parent


@pytest.mark.parametrize("beta", [0.75, 0.0])
def test_step(table, beta):
    """A step with its optimizer against the teacher's forward pass and the student's training paths, each alone."""
    pair = lit_parts.Pair()
    with pair.held():
        step, parts = pair.step(beta), pair.parts(beta)

        def alone():
            for part in parts:
                tensors = tf.nest.flatten(part())
                float(tf.reduce_sum(next(tensor for tensor in tensors if tensor is not None)))

        pairs = measuring.interleaved(lambda: measuring.timed(step), lambda: measuring.timed(alone), pairs=15)
    note = f"ResNet-56 to ResNet-20, batches of {lit_parts.BATCH}, beta {beta}; the parts have no optimizer"
    table.add(measuring.ratio_row(f"LIT step (beta {beta}) / its parts alone", pairs, 1.10, note))


def peak_mib(what, beta):
    """The high-water mark of a process of its own."""
    command = [sys.executable, str(HERE / "memory_side_lit.py"), what, str(beta)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


@pytest.mark.parametrize("beta", [0.75, 0.0])
def test_memory(table, beta):
    """Peak memory of training with LIT against a step that is written out by hand."""
    ours, reference = peak_mib("lit", beta), peak_mib("plain", beta)
    assert ours > 0 and reference > 0
    table.add(
        measuring.Row(
            f"peak memory of a LIT step (beta {beta}) / written out",
            f"{ours:,.0f} MiB",
            f"{reference:,.0f} MiB",
            f"{ours / reference:.2f}",
            "-",
            1.20,
            "ResNet-56 to ResNet-20, batches of 256; whole processes",
        )
    )
