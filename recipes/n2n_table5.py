"""N2N, Table 5 and Figure 10: policies that learned on one teacher start the search on another.

    python recipes/n2n_table5.py
    python recipes/n2n_table5.py --pairs vgg11-vgg19 --stage removal

For each pair, a full search on the first teacher is made; then a search of 10 updates on the second one starts from its
policies, and another from fresh ones. Reward, compression and accuracy are means over the students of these updates
and over seeds, one row per stage. Decided: a student that is not trained counts with compression and accuracy 0, and
its reward of -1; accuracies are on the validation split. The paper's table, which does not distinguish stages:

                            pre-trained                scratch
                            reward  comp.   acc.       reward  comp.   acc.
    ResNet-18 -> ResNet-34   0.81   78.1%   79.5%       0.50   34.8%   82.4%
    ResNet-34 -> ResNet-18   0.76   65.5%   82.3%       0.53   39.7%   82.8%
    VGG-11 -> VGG-19         0.52   46.0%   71.7%      -0.07   20.2%   42.5%

Not run at full length here. Estimates for a seed: months on two CPU cores; on one GPU two or three days, as three
teachers are searched in full, and some hours for training the four teachers, which `--teachers FOLDER --unit-interval`
(files NETWORK_DATA.keras of train_teacher.py) spares. `--updates 20 --score-epochs 1 --images 5000 --epochs-share 0.1`
shortens it.
"""

import argparse
import functools

import n2n_parts
import numpy as np
import runner

PAIRS = ("resnet18-resnet34", "resnet34-resnet18", "vgg11-vgg19")
PRETRAINED, SCRATCH = "pre-trained", "scratch"


def runs(args):
    """Returns the search on each first teacher, and two short ones on each second one; no winner is trained fully."""
    if unknown := sorted(set(args.pairs) - set(PAIRS)):
        raise argparse.ArgumentTypeError(f"--pairs: expected some of {', '.join(PAIRS)}. Received: {unknown}")
    n2n_parts.somewhere(args)  # for the policies
    settings = {"stage": args.stage, "epochs": 0}
    searches, made = {}, []
    for pair in args.pairs:
        source, target = pair.split("-")
        if source not in searches:
            searches[source] = runner.Run(source, n2n_parts.search(args, **settings), model=source)
            made.append(searches[source])
        few = settings | {"updates": args.first_updates}
        learned = functools.partial(transferred, source=searches[source], settings=few)
        made.append(runner.Run(f"{pair}, {PRETRAINED}", learned, model=target, follows=searches[source]))
        made.append(runner.Run(f"{pair}, {SCRATCH}", n2n_parts.search(args, **few), model=target))
    return made


def transferred(data, args, result, source, settings):
    """Returns N2N starting from the policies of another search."""
    del data
    folder = runner.folder(args, runner.title(source, result.seed, args)) / "policies"
    return n2n_parts.search(args, **settings, policies=str(folder))


def after(results, data, args):
    """Prints the paper's table, and draws its figure."""
    del data
    rows = [("", "stage", "reward", "comp.", "acc.")]
    for stage in ("removal", "shrinkage") if args.stage == "both" else (args.stage,):
        figures = {}
        for run, of_run in results.items():
            pair, _, start = run.name.partition(", ")
            curves = [curve for result in of_run if (curve := n2n_parts.curves(result, stage))]
            if not start or not curves:  # the search on a first teacher, or a first stage that left nothing to shrink
                continue
            reward, compression, accuracy = (np.mean([curve[key] for curve in curves], axis=0) for key in curves[0])
            rows.append(
                (run.name, stage, f"{reward.mean():.2f}", f"{compression.mean():.1%}", f"{accuracy.mean():.1%}")
            )
            figures.setdefault(pair, {})[start] = (range(1, len(reward) + 1), reward)
        for pair, lines in figures.items():
            runner.draw(lines, args, "update", "mean reward", name=f"{pair} {stage}")
    runner.show(rows)


RECIPE = {
    "flags": n2n_parts.FLAGS
    | {
        "pairs": {"default": list(PAIRS), "help": "pairs of teachers: first-second"},
        "stage": {"default": "both", "choices": ("both", "removal", "shrinkage")},
        "first_updates": {"default": 10, "help": "updates on the second teacher"},
        "teachers": {"default": None, "help": "folder of NETWORK_DATA.keras; without it they are trained from scratch"},
        "out": "runs/n2n_table5",
    },
    "smoke": n2n_parts.SMOKE | {"pairs": [PAIRS[0]], "stage": "removal", "first_updates": 1, "out": None},
    "load": n2n_parts.load,
    "model": n2n_parts.teacher,
    "runs": runs,
    "after": after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
