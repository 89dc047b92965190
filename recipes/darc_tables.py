"""Common parts of the recipes of DARC's tables: (S) and (T) for each network, and the measurements of the results."""

import dataclasses
import pathlib

import keras
import networks
import runner

from tfcompress.costs import measure_latency
from tfcompress.methods import DARC
from tfcompress.report import plot_changes, plot_spectrum

FLAGS = {
    "teachers": {"default": "savedmodels/teachers", "help": "folder of NETWORK_DATA.keras files from train_teacher.py"},
    "images": None,
    "share_of_params": {"default": 0.25, "help": "budget of (S)"},
    "share_of_latency": {"default": 0.7, "help": "budget of (T)"},
    "batches": {"default": [1, 256], "help": "batch sizes for throughput"},
    "epochs_share": 1.0,
    "seed": 0,
    "out": {"default": "runs/darc", "help": "folder for run folders and pictures"},
}
SMOKE = {
    "data": "digits",
    "images": 100,
    "networks": ["smoke"],
    "penalties": ["S"],
    "share_of_params": 0.6,
    "epochs_share": 0.0,
    "batches": [1, 2],
    "out": None,
}


def model(name, data, args):
    """Returns the trained network of a name."""
    if args.smoke:
        return networks.tiny("residual", data)
    return keras.saving.load_model(pathlib.Path(args.teachers) / f"{name}_{args.data}.keras")


def runs(published):
    """Returns the runs of a table: DARC(S), which limits parameters, and DARC(T), which limits latency, by network.

    Args:
        published: function from a network's name to the name of its settings in `DARC.as_published`.
    """

    def of_flags(args):
        made = []
        for name in args.networks:
            for letter in args.penalties:
                metric, share = {
                    "S": ("params", args.share_of_params),
                    "T": ("latency_ms", args.share_of_latency),
                }[letter]
                method = DARC.as_published(published(name), minimize=metric, imitation_optimizer="adam")
                epochs = {
                    key: max(1, round(getattr(method, key) * args.epochs_share)) for key in ("epochs", "block_epochs")
                }
                if args.smoke:
                    epochs["blocks"] = 1
                method = dataclasses.replace(method, **epochs)
                made.append(runner.Run(f"{name} ({letter})", method, model=name, budget={metric: share}))
        return made

    return of_flags


def throughput(network, batches):
    """Returns images per second in LiteRT with one thread, for each batch size."""
    return [1e3 * batch / measure_latency(network, batch=batch).median_ms for batch in batches]


def after(results, data, args):
    """Prints size, accuracy and throughput of originals and results, as in Tables 4 to 6; draws Figures 1 to 3."""
    rows = [("", "params", "accuracy", *(f"images/s, batch {batch}" for batch in args.batches))]
    for run, (result, *_) in results.items():
        original = model(run.model, data, args)
        for name, network, measured in ((run.model, original, result.before), (run.name, result.model, result.after)):
            rate = (f"{each:.0f}" for each in throughput(network, args.batches))
            rows.append((name, f"{measured.params:,}", f"{100 * measured.accuracy:.2f}", *rate))
        if args.out:
            folder = pathlib.Path(args.out)
            plot_spectrum(result, folder / f"{run.name} spectrum.png", cost="params")
            plot_changes(result, folder / f"{run.name} changes.png", cost="params")
    runner.show(rows)
