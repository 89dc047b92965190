"""RLAL's ablations: Table 3 (epoch embeddings, soft regularization) and Figure 2 (episodes an epoch, embeddings).

    python recipes/rlal_ablations.py --run-dir runs/rlal_ablations

Table 3 prunes ResNet-56 on CIFAR-10 to half its FLOPs. The paper reports these changes of accuracy: "ours" +0.45,
without epoch embeddings (EE) -0.03, without EE and soft regularization (SR) -0.21. Figure 2 shows the best reward by
epoch over 90 epochs of joint training at 35%, 50% and 65% of the FLOPs pruned, (a-c) for 5, 10 and 15 episodes an
epoch, (d-f) with and without embeddings, (g-i) the same for MobileNetV2. Defaults are the paper's settings: weeks on
two CPU cores, so the figures of a full run are not given here. `--only table3` or `--only figure2` runs a part.
"""

import dataclasses

import runner

from tfcompress.methods import RLAL

NETWORK = "resnet56-cifar10"  # whose settings are those of MobileNetV2, too
WITHOUT_EMBEDDINGS = {"agent": dataclasses.replace(RLAL.as_published(NETWORK).agent, use_environment_model=False)}

TABLE_3 = {
    "ours": {},
    "without EE": WITHOUT_EMBEDDINGS,
    "without EE and SR": {**WITHOUT_EMBEDDINGS, "alignment": 0.0},
}

FIGURE_2 = {
    "5 episodes": {"episodes_per_epoch": 5},
    "10 episodes": {"episodes_per_epoch": 10},
    "15 episodes": {"episodes_per_epoch": 15},
    "without embeddings": WITHOUT_EMBEDDINGS,
}


def table_3(args, epochs):
    """Returns the accuracy after fine-tuning."""
    both = runner.rlal_settings(args) | {"epochs": epochs}
    return [
        runner.Run(f"table3 {name}", RLAL.as_published(NETWORK, **both | changes), model="resnet56")
        for name, changes in list(TABLE_3.items())[:: 2 if args.smoke else 1]
    ]


def figure_2(args, epochs, network):
    """Returns the best reward at the end of joint training, by share of FLOPs pruned; curves are in the run folders."""
    both = runner.rlal_settings(args) | {"epochs": epochs, "finetune_epochs": 0}
    both |= {"agent_epochs": (10, 20, 90), "reference_epochs": 90 if epochs >= 90 else 200}
    return [
        runner.Run(
            f"figure2 {network} {name}", RLAL.as_published(NETWORK, **both | changes), pruned, network, 1 - pruned
        )
        for pruned in ((0.35,) if args.smoke else (0.35, 0.5, 0.65))
        for name, changes in list(FIGURE_2.items())[-1 if args.smoke else 0 :]
        # (g-i) compare embeddings only
        if network == "resnet56" or name not in ("5 episodes", "15 episodes")
    ]


def runs(args):
    """Returns the runs of the table, then those of the figure."""
    made = [] if args.only == "figure2" else table_3(args, args.epochs or 200)
    if args.only != "table3":
        for network in ("resnet56",) if args.smoke else ("resnet56", "mobilenet_v2"):
            made += figure_2(args, args.epochs or 90, network)
    return made


RECIPE = {
    "flags": runner.RLAL_FLAGS
    | {
        "epochs": {
            "default": None,
            "help": "epochs of joint training; by default 200 for the table, 90 for the figure",
        },
        "only": {"default": None, "choices": ("table3", "figure2")},
    },
    "smoke": runner.RLAL_SMOKE,
    "model": runner.from_zoo,
    "runs": runs,
    "number": "pruned",
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
