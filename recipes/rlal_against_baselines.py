"""RLAL against Uniform, Random and the paper's own settings, at the same budget and the same number of epochs.

    python recipes/rlal_against_baselines.py --images 5000 --epochs 10 --out runs/rlal
    python recipes/rlal_against_baselines.py --images 5000 --epochs 10 --data fashion_mnist --half \\
        --model savedmodels/teachers/resnet20_fashion_mnist_half.keras --out runs/rlal_fashion

A trained ResNet-20 is pruned and trained for 10 epochs on 4,500 images; 500 more are held out for choices. "rlal" has
its defaults: it tries plans with the trained weights fixed, as many as read the images that recovery trains on (71 of
4,500 images and 10 epochs; `--episodes 150 --local-search 50` tries as many as a long run does), then all epochs of
recovery; "random" draws as many plans; "published" has the paper's settings, shortened: joint training for half of the
epochs, fine-tuning for the other half, labels only, no recomputed statistics for a plan. `--fresh` starts with new
random weights ("dense" trains them for half of the epochs first; "joint" and "published" train while they prune),
`--methods labels` runs Uniform without its teacher, `--methods global knapsack` one ranking of all channels and the
exact choice of widths (docs/methods/knapsack.md), `--methods replay --replay RUN` trains the network cut by another
run's plan, and `--epochs 0` compares only the searches. Test accuracy, means of seeds 0, 1, 2:

    trained network, share of the MACs     before  uniform  random    rlal  published
    ResNet-20, CIFAR-10, 50%                88.27    85.28   85.60   86.03      79.35
    ResNet-20, CIFAR-10, 30%                88.27    80.61   81.71   83.02      64.98
    ResNet-32, CIFAR-10, 50%                87.13    84.81       -   85.44          -
    ResNet-32, CIFAR-10, 30%                87.13    81.16       -   83.28          -
    ResNet-20, Fashion-MNIST, 50%           89.45    88.16   88.72   88.79      87.56
    ResNet-20, Fashion-MNIST, 30%           89.45    87.41   87.53   87.98      84.66

    fresh ResNet-20, --epochs 20            dense  uniform  searched  joint  published
    CIFAR-10, 50%                           52.02    51.52     52.07  60.36          -
    CIFAR-10, 30%                           52.02    49.32     50.66  57.72          -
    Fashion-MNIST, 50%                      77.30    76.63     77.10  80.90      78.20
    Fashion-MNIST, 30%                      77.30    75.90     76.17  79.51      76.87

What sets "joint" apart is its rate: Uniform on labels with learning_rate=0.1 has as much (62.06 and 60.01 on CIFAR-10,
seed 0). docs/results/defaults.md has each seed, times, versions and the discussion.
"""

import argparse
import dataclasses

import keras
import runner

import tfcompress
from tfcompress import Trail
from tfcompress.methods import AMC, RLAL, Candidate, Knapsack, Random, Search, Uniform
from tfcompress.methods.rlal import AgentSettings
from tfcompress.rewrite import replay


@dataclasses.dataclass(frozen=True)
class Replay(Uniform):
    """Fine-tunes the network cut by the plan of a finished run, to measure the plan alone."""

    folder: str = ""

    def search(self, task):
        """Returns the trail of that run, with the weights of the model that is cut."""
        trail = tfcompress.Result.load(self.folder).trail.ending_with("inherited")
        before = trail.plans[:-1]
        source = replay(task.model, Trail(before)) if before else task.model
        cost = task.on(source).costs.of(trail.last)
        return Search(source, trail, candidates=(Candidate(trail, cost, origin=self.folder),))


def runs(args):
    """Returns each method on a trained model, or, with `--fresh`, on an untrained one."""
    searched = {"reward_images": args.reward_images, "recalibrate_batches": 1}
    tries = None if args.episodes is None else args.episodes + (args.local_search or 0)
    before = args.epochs // 2 if args.fresh else 0
    after = args.epochs - before
    rlal = {"episodes": args.episodes, "local_search": args.local_search, **searched}
    agent = AgentSettings(entropy_coefficient=args.entropy_coefficient)
    dense = runner.Run("dense", Uniform(epochs=before), model="residual", flops_budget=1.0)
    start = dense if args.fresh else "residual"
    published = RLAL.as_published(
        "resnet56-cifar10",
        epochs=max(4, args.epochs // 2),
        finetune_epochs=max(0, args.epochs - max(4, args.epochs // 2)),
        learning_rate=None,  # a model that comes trained begins lower
        agent_epochs=(0, 25, 150),
        episodes_per_epoch=-(-(tries or 200) // max(1, args.epochs * 3 // 8)),
        reward_images=args.reward_images,
    )
    joint = RLAL(epochs=max(4, before), finetune_epochs=max(0, args.epochs - max(4, before)), joint=True, **searched)
    made = {
        "uniform": runner.Run("uniform", Uniform(epochs=after), model=start),
        "global": runner.Run("global", Uniform(epochs=after, scope="global"), model=start),
        "knapsack": runner.Run("knapsack", Knapsack(epochs=after), model=start),
        "random": runner.Run("random", Random(epochs=after, tries=tries, **searched), model=start),
        "amc": runner.Run("amc", AMC(epochs=after, episodes=tries or 200, **searched), model=start),
        "rlal": runner.Run("rlal", RLAL(epochs=after, joint=False, agent=agent, **rlal), model=start),
        "joint": runner.Run("joint", joint, model="residual"),
        "published": runner.Run("published", published, model="residual"),
        "labels": runner.Run("labels", Uniform(epochs=after, teach=None), model=start),
    }
    if args.replay:
        made["replay"] = runner.Run("replay", Replay(epochs=after, folder=args.replay), model=start)
    if unknown := sorted(set(args.methods) - set(made)):
        raise argparse.ArgumentTypeError(
            f"--methods: expected some of {', '.join(made)}. Received: {', '.join(unknown)}"
        )
    wanted = [made[name] for name in args.methods]
    return [dense, *wanted] if any(run.model is dense for run in wanted) else wanted


def model(name, data, args):
    """Returns the network of `--model`; with `--fresh` its architecture with new random weights."""
    network = runner.from_file(name, data, args)
    if args.fresh and not args.smoke:
        network = fresh_copy(network)
    return network


def fresh_copy(network):
    """Returns the same architecture, compiled in the same way, with new random weights."""
    keras.utils.set_random_seed(0)  # as a run folder goes on only with the network that it was made for
    made = keras.models.clone_model(network)
    made.compile_from_config(network.get_compile_config())
    return made


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/resnet20_cifar10.keras",
        "data": "cifar10",
        "half": {"default": False, "help": "halve the size of the images"},
        "images": {"default": 8000, "help": "number of training images, including the held-out tenth"},
        "fresh": {"default": False, "help": "start with new random weights"},
        "flops_budget": 0.5,
        "epochs": {"default": 14, "help": "total epochs of training for every method"},
        "episodes": {"default": None, "type": int, "help": "episodes of rlal; as many as its default by default"},
        "local_search": {"default": None, "type": int, "help": "moves of channels after the episodes of rlal"},
        "entropy_coefficient": 0.1,
        "replay": {"default": None, "metavar": "RUN", "help": "run folder of the plan that the method `replay` uses"},
        "reward_images": 500,
        "seeds": [0, 1, 2],
        "methods": ["uniform", "random", "rlal", "published"],
        "out": None,
    },
    "smoke": {
        "data": "digits",
        "images": 200,
        "seeds": [0],
        "reward_images": 20,
        "epochs": 4,
        "episodes": 3,
        "local_search": 1,
    },
    "model": model,
    "runs": runs,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
