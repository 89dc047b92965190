"""RLAL against Uniform, Random and AMC on CIFAR-10, at the same budget and the same number of training images seen.

    python recipes/rlal_against_baselines.py --out runs/rlal_against_baselines

A ResNet-20 (savedmodels/teachers/resnet20_cifar10.keras) is pruned to half its FLOPs with a schedule that fits two CPU
cores: 8,000 of the training images (800 of them held out for rewards), 8 epochs of joint training and 6 of fine-tuning
for RLAL, 14 of fine-tuning for the others; 120 episodes for RLAL and AMC, 120 tries for Random, each reward on 500
images with BatchNormalization statistics taken anew from one batch. The test split is read once for each run.

    method    FLOPs   test accuracy, seeds 0, 1, 2        best reward
    (before)  100%    88.27
    uniform   49.3%   84.84 +- 0.20 (84.81, 84.61, 85.10)  -
    random    50.0%   85.01 +- 0.16 (85.08, 85.17, 84.79)  0.766, 0.776, 0.742
    rlal      49.9%   84.33 +- 0.23 (84.06, 84.31, 84.62)  0.762, 0.768, 0.756

(tensorflow 2.21.0, keras 3.15.1, tf-agents 0.18.0, two CPU cores, about 8 minutes a run on a busy machine. The figures
of uniform are from before it spent what one ratio leaves of a budget: the same command now gives it the rest of 50%.
amc, with as many episodes as random has tries and the same fine-tuning, came later and has no figures yet.)

RLAL does not win here. What was found:
- Joint training on a part of the images costs what is lost. The plan that RLAL found is as good as Random's: the
  teacher cut by it (seed 0) and fine-tuned for 14 epochs reaches 85.01, for 10 epochs 84.72
  (`--methods replay --replay RUN --baseline-epochs 14`). After four epochs of joint training on these 8,000 images and
  ten of fine-tuning (`--methods rlal --epochs 4 --episodes-per-epoch 40 --finetune-epochs 10 --updates-per-epoch 128
  --entropy-coefficient 0.01`) the same plan reaches 84.05. The teacher saw 50,000 images; epochs on a sixth of them
  overfit (training accuracy 0.91 to 0.92) before anything is cut.
- A smaller entropy coefficient (0.01) and 128 updates an epoch let the agent learn (mean reward from 0.51 to 0.60 in
  eight epochs, seed 0), but the best reward stays that of the first 20 episodes: 84.05 as well.
- The agent has hardly begun to learn in so short a run. The mean reward of its episodes went from 0.51 to 0.50, from
  0.43 to 0.56 and from 0.45 to 0.54 over six epochs with seeds 0, 1 and 2; that of random plans is 0.48, 0.52 and 0.48.
  It makes 160 updates at a learning rate of 1e-4. Its best of 120 episodes is as good as the best of 120 random ones.
- Six of its 14 epochs train the pruned network, against 14 for the others, and the eight epochs of joint training add
  nothing to a network that was trained already: its validation accuracy stays where it was. Uniform with six epochs
  (`--methods uniform --baseline-epochs 6`) reaches 84.51 +- 0.17 (84.63, 84.63, 84.26): most of the difference.
- The reward's images are training images of the teacher, which saw all 50,000; it knows the held-out tenth as well as
  the rest (validation accuracy before: 0.90). All three methods share that.
"""

import argparse
import dataclasses

import keras
import runner

import tfcompress
from tfcompress import Trail
from tfcompress.methods import AMC, RLAL, Candidate, Random, Search, Uniform
from tfcompress.methods.rlal import AgentSettings
from tfcompress.rewrite import replay


@dataclasses.dataclass(frozen=True)
class Replay(Uniform):
    """Fine-tunes the network cut by the plan of a finished run: what the plan alone is worth."""

    folder: str = ""

    def search(self, task):
        """The trail of that run, with the weights of the model that is cut."""
        trail = tfcompress.Result.load(self.folder).trail.ending_with("inherited")
        before = trail.plans[:-1]
        source = replay(task.model, Trail(before)) if before else task.model
        cost = task.on(source).costs.of(trail.last)
        return Search(source, trail, candidates=(Candidate(trail, cost, origin=self.folder),))


def runs(args):
    """Each method on a model that comes trained, or, with `--fresh`, on one that does not."""
    searched = {"reward_images": args.reward_images, "recalibrate_batches": 1}
    tries = args.episodes + args.local_search
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
        episodes_per_epoch=-(-tries // max(1, args.epochs * 3 // 8)),
        reward_images=args.reward_images,
    )
    joint = RLAL(epochs=max(4, before), finetune_epochs=max(0, args.epochs - max(4, before)), joint=True, **searched)
    made = {
        "uniform": runner.Run("uniform", Uniform(epochs=after), model=start),
        "random": runner.Run("random", Random(epochs=after, tries=tries, **searched), model=start),
        "amc": runner.Run("amc", AMC(epochs=after, episodes=tries, **searched), model=start),
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
    """The network of `--model`; with `--fresh` its architecture with weights drawn anew."""
    network = runner.from_file(name, data, args)
    if args.fresh and not args.smoke:
        network = fresh_copy(network)
    return network


def fresh_copy(network):
    """The same architecture, compiled alike, with weights drawn anew."""
    keras.utils.set_random_seed(0)  # as a run folder goes on only with the network that it was made for
    made = keras.models.clone_model(network)
    made.compile_from_config(network.get_compile_config())
    return made


RECIPE = {
    "flags": {
        "model": "savedmodels/teachers/resnet20_cifar10.keras",
        "data": "cifar10",
        "half": {"default": False, "help": "images of half their size"},
        "images": {"default": 8000, "help": "training images, the held-out tenth included"},
        "fresh": {"default": False, "help": "begin with weights drawn anew"},
        "flops_budget": 0.5,
        "epochs": {"default": 14, "help": "of training in all, for every method"},
        "episodes": 150,
        "local_search": 50,
        "entropy_coefficient": 0.1,
        "replay": {"default": None, "metavar": "RUN", "help": "whose plan the method `replay` takes"},
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
