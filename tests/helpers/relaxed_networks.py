"""What the forms of a network in DARC have to be to one another: relaxed, trained a step, saved, chosen, in TFLite."""

import keras
import numpy as np

from tfcompress import export
from tfcompress.channels import Control
from tfcompress.methods.darc.relaxation import Penalized, Weights, check_student, chosen_student, first_weights, relax
from tfcompress.methods.darc.units import ORIGINAL, CostTable
from tfcompress.network import Network

OPTIONS = {"batch_size": 8, "epochs": 1, "blocks": 1, "block_epochs": 1, "imitation_epochs": 1, "mixup": 0}


def check_forms(model, method, x, folder):
    """Takes a classifier through relaxation, a step, saving and loading, choosing, and TFLite.

    Args:
        model: with softmax outputs.
        method: a DARC.
        x: a batch of inputs.
        folder: where files are written.

    Returns:
        What was seen, by name.
    """
    source = Network(model)
    units = method.units(source.costs, Control())
    table = CostTable.of(units, source.costs.total)
    costs = table.shares(["macs"])
    relaxed = relax(source, units, {unit.name: unit.alternatives for unit in units}, Penalized(costs, 0.1))
    first_weights(source, relaxed, x, np.random.default_rng(0))

    trained = relaxed.network.model
    alpha = {name: mixture.alpha.numpy() for name, mixture in relaxed.mixtures.items()}
    for mixture in relaxed.mixtures.values():
        ((variable, value),) = mixture.alone(ORIGINAL)
        variable.assign(value)
    same = difference(trained.predict(x, verbose=0), model.predict(x, verbose=0))
    assert same < 1e-4, f"all alpha on the originals: {same}"
    for name, mixture in relaxed.mixtures.items():
        mixture.alpha.assign(alpha[name])

    trained.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
    loss = trained.train_on_batch(x, np.arange(len(x)) % model.output_shape[-1])
    assert np.isfinite(loss), loss
    moved = sum(bool(np.any(mixture.alpha.numpy() != alpha[name])) for name, mixture in relaxed.mixtures.items())
    assert moved == len(relaxed.mixtures), f"alpha of {moved} of {len(relaxed.mixtures)} moved"

    trained.save(folder / "relaxed.keras")
    loaded = keras.saving.load_model(folder / "relaxed.keras")
    again = difference(loaded.predict(x, verbose=0), trained.predict(x, verbose=0))
    assert again < 1e-5, f"saved and loaded: {again}"
    loaded.train_on_batch(x, np.arange(len(x)) % model.output_shape[-1])

    weights = Weights()
    relaxed.store(weights)
    replaced = [unit.alternatives[1:] for unit in units]
    choice = {
        unit.name: names[number % len(names)] for number, (unit, names) in enumerate(zip(units, replaced, strict=True))
    }
    student = chosen_student(source, units, choice, weights)
    check_student(relaxed, choice, student, x)
    assert all(type(layer).__module__.startswith("keras.") for layer in student.layers)
    cost, planned = Network(student).costs.total, table.total(choice, "macs")
    assert cost.macs == planned, f"planned {planned} multiply-adds, counted {cost.macs}"
    assert cost.params == table.total(choice, "params")

    (outputs,) = export.run_tflite(export.convert(student), x).values()
    exported = difference(outputs, student.predict(x, verbose=0))
    assert exported < 1e-4, f"TFLite: {exported}"
    return {
        "units": len(units),
        "alternatives": sum(len(unit.alternatives) for unit in units),
        "macs": round(cost.macs / source.costs.total.macs, 3),
        "originals": same,
        "loaded": again,
        "TFLite": exported,
    }


def difference(ours, theirs):
    """The largest difference of two arrays."""
    return float(np.max(np.abs(np.asarray(ours) - np.asarray(theirs))))


def settle(model, x):
    """Gives normalisations of random weights the statistics of a batch, without which all outputs would be alike."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    kept = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(x, training=True)
    for layer, momentum in zip(norms, kept, strict=True):
        layer.momentum = momentum
    outputs = model.predict(x, verbose=0)
    assert np.min(np.ptp(outputs, axis=0)) > 1e-3, "Expected outputs that differ from sample to sample."
