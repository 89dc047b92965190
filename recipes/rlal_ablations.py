"""RLAL's ablations: Table 3 (epoch embeddings, soft regularization) and Figure 2 (episodes an epoch, embeddings).

    python recipes/rlal_ablations.py --run-dir runs/rlal_ablations

Table 3 prunes ResNet-56 on CIFAR-10 to half its FLOPs. The paper reports these changes of accuracy: "ours" +0.45,
without epoch embeddings (EE) -0.03, without EE and soft regularization (SR) -0.21. Figure 2 shows the best reward by
epoch over 90 epochs of joint training at 35%, 50% and 65% of the FLOPs pruned, (a-c) for 5, 10 and 15 episodes an
epoch, (d-f) with and without embeddings, (g-i) the same for MobileNetV2. Defaults are the paper's settings: weeks on
two CPU cores, so the figures of a full run are not given here. `--only table3` or `--only figure2` runs a part.
"""

import common

from tfcompress.methods import RLAL
from tfcompress.methods.rlal import AgentSettings

WITHOUT_EMBEDDINGS = {"agent": AgentSettings(use_environment_model=False)}

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


def table_3(model, data, args):
    """Accuracy after fine-tuning."""
    rows = []
    for name, changes in TABLE_3.items():
        result = common.compress(model, RLAL(**common.settings(args) | changes), data, args, name=f"table3 {name}")
        rows.append((name, result.before.accuracy, result.after.accuracy))
    for name, before, after in rows:
        print(f"{name:20s} before {before:.4f}  after {after:.4f}")


def figure_2(network, model, data, args):
    """Best reward at the end of joint training, by share of FLOPs pruned; the curves are in the run folders."""
    rows = []
    for pruned in (0.35,) if args.smoke else (0.35, 0.5, 0.65):
        args.flops_budget = 1 - pruned
        for name, changes in list(FIGURE_2.items())[-2 if args.smoke else 0 :]:
            if network == "mobilenet_v2" and name in ("5 episodes", "15 episodes"):
                continue  # (g-i) compare embeddings only
            agent_epochs = {"agent_epochs": (10, 20, 90), "reference_epochs": 90 if args.epochs >= 90 else 200}
            method = RLAL(**common.settings(args) | {"finetune_epochs": 0} | agent_epochs | changes)
            result = common.compress(model, method, data, args, name=f"figure2 {network} {pruned} {name}")
            rows.append((network, pruned, name, result.history["search"]["reward_best"][-1]))
    for network_name, pruned, name, reward in rows:
        print(f"{network_name:14s} pruned {pruned:.0%}  {name:20s} best reward {reward:.4f}")


def main():
    parser = common.parser(__doc__, data="cifar10", flops_budget=0.5, epochs=None, reward_images=5000)
    parser.add_argument("--only", choices=("table3", "figure2"))
    args = common.parse(parser)
    data = common.load(args)
    models = {name: common.network(name, data, args) for name in ("resnet56", "mobilenet_v2")}
    epochs = args.epochs
    if args.only != "figure2":
        args.epochs = epochs or 200
        table_3(models["resnet56"], data, args)
    if args.only != "table3":
        args.epochs = epochs or 90
        for name, model in list(models.items())[: 1 if args.smoke else None]:
            figure_2(name, model, data, args)


if __name__ == "__main__":
    main()
