"""Flags of recipes and programs, from a dictionary; needs neither Keras nor TensorFlow.

flags     {name: default}, or {name: options of argparse} for flags that `_FLAGS` does not describe
smoke     {flag: value}: the values that `--smoke` sets
"""

import argparse

_FLAGS = {
    "data": {"type": str, "help": "name of a dataset"},
    "images": {"type": int, "help": "number of training images or texts to use, the first ones"},
    "flops_budget": {"type": float, "help": "share of the FLOPs to keep"},
    "epochs": {"type": int},
    "finetune_epochs": {"type": int},
    "run_dir": {"type": str, "help": "run folder; a killed run continues from there"},
    "out": {"type": str, "help": "folder for run folders and plots; a killed recipe continues from there"},
    "teacher": {"type": str, "help": "a .keras file; by default a teacher is trained from scratch"},
    "epochs_share": {"help": "share of the paper's epochs; milestones are scaled too"},
}


def arguments(doc, recipe, argv=None):
    """Returns the flags of a recipe, by default from the command line; `--smoke` shrinks everything."""
    made = _parser(doc, recipe["flags"])
    args = made.parse_args(argv)
    args.parser = made
    if args.smoke:
        vars(args).update(recipe["smoke"])
    return args


def _parser(doc, flags):
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, given in flags.items():
        options = _FLAGS.get(name, {}) | (given if isinstance(given, dict) else {"default": given})
        default = options["default"]
        if isinstance(default, list):
            options["nargs"], default = "+", default[0]
        if isinstance(default, bool):
            options["action"] = "store_true"
        elif default is not None:
            options["type"] = type(default)
        made.add_argument(f"--{name.replace('_', '-')}", **options)
    made.add_argument(
        "--smoke", action="store_true", help="only test that it runs: few samples, tiny networks, the shortest run"
    )
    return made
