"""N2N, Figures 6 to 9: actor-critic against REINFORCE, learning rates, and numbers of rollouts; mean reward by update.

    python recipes/n2n_figures6_9.py --vary actor_critic
    python recipes/n2n_figures6_9.py --vary actor_critic --data cifar10 --network resnet18
    python recipes/n2n_figures6_9.py --vary rates
    python recipes/n2n_figures6_9.py --vary rollouts

Searches of stage 1, means over three seeds, as a picture and a table of the first and the last tenth of the updates.
The figures have no table. In words: on MNIST actor-critic is slightly more stable and converges at a similar rate; on
CIFAR-10 it is more stable and "did not perform as well"; of the rates 0.03, 0.003 and 0.0003 "lr=0.03 did not converge
while lr=0.0003 converged too slowly"; of 1, 5 and 10 rollouts 1 "was too unstable while a batch size of 10 offered no
substantial improvements". Figures 6, 8 and 9 are of VGG-13 on MNIST; the teacher of Figure 7 is not told.

Not run at full length here. Estimates for a seed of one line: VGG-13 on MNIST a week on two CPU cores, ResNet-18 on
CIFAR-10 months; on one GPU half a day each. `--network conv4 --epochs-share 0.1 --updates 20 --score-epochs 1
--images 5000` brings it into reach.
"""

import n2n_parts
import numpy as np
import runner

VARIED = {
    "actor_critic": {"REINFORCE": {}, "actor-critic": {"actor_critic": True}},
    "rates": {f"learning rate {rate}": {"removal_rate": rate} for rate in (0.03, 0.003, 0.0003)},
    "rollouts": {f"{count} rollouts": {"rollouts": count} for count in (1, 5, 10)},
}


def runs(args):
    """Returns a search for each line of the figure; no winner is trained fully."""
    n2n_parts.somewhere(args)  # for the picture
    made = {name: settings | {"stage": "removal", "epochs": 0} for name, settings in VARIED[args.vary].items()}
    return [runner.Run(name, n2n_parts.search(args, **made[name]), model=args.network) for name in made]


def after(results, data, args):
    """Draws the figure, and prints where each line begins and ends."""
    del data
    rows, lines = [("", "mean reward, first and last tenth of the updates", "+- over seeds, at the end")], {}
    for run, of_run in results.items():
        rewards = np.array([n2n_parts.curves(result, "removal")["reward"] for result in of_run])
        tenth = -(-rewards.shape[1] // 10)
        first, last = rewards[:, :tenth].mean(), rewards[:, -tenth:].mean(axis=1)
        rows.append((run.name, f"{first:.3f} {last.mean():.3f}", f"{last.std():.3f}"))
        lines[run.name] = (range(1, rewards.shape[1] + 1), rewards.mean(axis=0))
    runner.show(rows)
    runner.draw(lines, args, "update", "mean reward", name=f"{args.network}_{args.data} {args.vary}")


RECIPE = {
    "flags": n2n_parts.FLAGS
    | n2n_parts.TEACHER
    | {
        "data": "mnist",
        "network": n2n_parts.TEACHER["network"] | {"default": "vgg13"},
        "vary": {"default": "actor_critic", "choices": tuple(VARIED)},
        "out": "runs/n2n_figures6_9",
    },
    "smoke": n2n_parts.SMOKE | {"out": None},
    "load": n2n_parts.load,
    "model": n2n_parts.teacher,
    "runs": runs,
    "after": after,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
