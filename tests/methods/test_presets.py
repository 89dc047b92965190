"""Presets: every method has three, whose settings hold; single settings overrule; and what papers say, by hand."""

import dataclasses
import io
from typing import ClassVar
from unittest import mock

import pytest
import small_tasks

import tfcompress
from tfcompress.importance import Taylor
from tfcompress.methods import (
    AMC,
    DARC,
    N2N,
    RLAL,
    Candidate,
    Knapsack,
    Random,
    Replaced,
    Search,
    TaylorPruning,
    TrainedMethod,
    Uniform,
    method_by_name,
    phases,
    register_method,
    registered_methods,
    registry,
)
from tfcompress.methods.presets import nearest_preset, share_of_fast, words_for_preset, work
from tfcompress.training import PhasePlan, Progress

METHODS = registered_methods()


def settings(method, *names):
    return tuple(getattr(method, name) for name in names)


def task_of(samples=8000):
    """A task on a trained network of two blocks, with so many samples."""
    return small_tasks.task_for(
        small_tasks.residual_network(activation="softmax"), small_tasks.pictures(samples), flops=0.5, accuracy=0.9
    )


@pytest.fixture(scope="module")
def task():
    return task_of()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_three_presets_whose_settings_hold(name):
    cls = METHODS[name]
    assert list(cls.presets()) == ["fast", "balanced", "paper"]
    assert cls.with_preset() == cls.with_preset("balanced") == cls()
    assert cls.with_preset("fast") != cls()
    assert cls.with_preset("paper") == cls.as_published() == cls.as_published(next(iter(cls.published())))
    assert cls.with_preset("fast") != cls.with_preset("paper")
    assert cls.with_preset("paper").keep == "last"  # no paper chooses an epoch
    for network in cls.published():
        cls.as_published(network)
    for preset in cls.presets():
        made = cls.with_preset(preset)
        assert nearest_preset(made) == (preset, {})
        assert words_for_preset(made) == [f"preset {preset}"]
        assert method_by_name(name, preset) == made


@pytest.mark.parametrize("name", METHODS)
def test_single_settings_overrule_a_preset(name):
    for preset in METHODS[name].presets():
        made = METHODS[name].with_preset(preset, epochs=17)
        assert made == dataclasses.replace(METHODS[name].with_preset(preset), epochs=17)
    assert METHODS[name].as_published(epochs=17).epochs == 17


@pytest.mark.parametrize("name", METHODS)
def test_no_method_starts_a_run_of_hundreds_of_epochs_by_itself(task, name):
    fast, balanced, paper = (work(METHODS[name].with_preset(preset).phases(task)) for preset in METHODS[name].presets())
    assert balanced <= 110
    assert fast <= balanced / 3
    assert balanced < paper or name in ("cluster", "replaced", "uniform")  # whose papers are short, or say nothing


def test_a_student_from_scratch_costs_no_teacher(task):
    """A teacher is a forward pass, a third of a step, beside the student's share of the multiply-adds."""
    made = METHODS["scratch"](), METHODS["scratch"](teach="kd"), METHODS["kd"]()
    alone, *taught = (method.phases(task)[0].cost for method in made)
    assert alone == phases.share_of_macs(task)
    assert taught == pytest.approx([alone + 1 / 3] * 2)


def test_papers_settings_by_hand():
    """N2N: "at least 100" updates, "batch size=5", "5 epochs was sufficient", rates 0.003 and 0.01; teachers for 150
    epochs at 0.001 with drops "in the 80th and 120th epochs" in batches of 128, on MNIST for 50 at 0.01 with one "in
    the 30th epoch" in batches of 64. DARC: "20 epochs/block for CIFAR-10, 10 for ImageNet", "fine-tuned for 20
    epochs", a "step size of 0.1" for "1 epoch", 0.01 afterwards, momentum 0.9, batches of 256, 128, 64 and 32. AMC: 100
    episodes explore and 300 exploit, at most 80% go. Molchanov: a filter, then 30 updates at 1e-4; N2N: "5 times". Li:
    40 epochs at 0.001. RLAL, whose plans Random draws as many of: 10 an epoch from epoch 10 to 90, then 200 epochs. Zhu
    and Gupta's example: steps 10,000 to 100,000, target_sparsity=0.9; in 50,000 images 90,000 batches of 128 are 230.4
    epochs. Han: "ip1 6" bits. Jacob: "learning rate starts from 10^-5", a tenth "every 30 epochs", "after 100 epochs".
    """
    n2n = N2N.as_published()
    assert settings(n2n, "updates", "rollouts", "score_epochs", "removal_rate") == (100, 5, 5, 0.003)
    assert settings(n2n, "epochs", "milestones", "reference_epochs") == (150, (80, 120), 150)
    assert settings(n2n, "schedule", "learning_rate", "batch_size", "optimizer") == ("step", 0.001, 128, "adam")
    mnist = N2N.as_published("vgg13-mnist")
    assert settings(mnist, "epochs", "milestones", "learning_rate", "batch_size") == (50, (30,), 0.01, 64)
    assert settings(mnist, "updates", "rollouts", "score_epochs") == (100, 5, 5)
    assert settings(N2N.as_published("resnet18-caltech256"), "epochs", "milestones", "learning_rate") == (50, (), 0.01)

    darc = DARC.as_published()
    assert settings(darc, "block_epochs", "epochs", "growth", "rate_decay") == (20, 20, 2, 0.5)
    assert settings(darc, "imitation_epochs", "imitation_optimizer", "imitation_rate") == (1, "sgd", None)  # None: 0.1
    assert settings(darc, "learning_rate", "momentum", "nesterov", "mixup", "alpha_rate") == (0.01, 0.9, True, 1, 1)
    assert settings(darc, "batch_size", "blocks", "unit") == (256, 10, "layer")
    assert DARC.as_published("wide-resnet-cifar10").batch_size == 128
    assert settings(DARC.as_published("resnet-imagenet"), "batch_size", "block_epochs", "unit") == (64, 10, "layer")
    assert settings(DARC.as_published("resnet50-imagenet"), "batch_size", "unit") == (32, "bottleneck")
    assert settings(Replaced.as_published(), "epochs", "imitation_optimizer", "batch_size") == (20, "sgd", 256)
    adam = DARC.as_published(optimizer="adam", imitation_optimizer="adam")  # neither has settings of SGD
    assert settings(adam, "alpha_rate", "imitation_rate") == (1, None)

    amc = AMC.as_published()
    assert settings(amc, "episodes", "exploring", "max_rate", "recalibrate_batches") == (400, 100, 0.8, 0)
    assert settings(amc.agent_settings(), "hidden", "tau", "batch_size", "sigma") == ((300, 300), 0.01, 64, 0.5)

    taylor = TaylorPruning.as_published()
    assert settings(taylor, "runs", "filters", "updates", "update_rate") == (5, 1, 30, 1e-4)
    assert settings(taylor, "criterion", "teach", "recalibrate_student") == ("feature_map_taylor", None, 0)
    assert settings(taylor, "epochs", "learning_rate", "milestones") == (150, 0.001, (80, 120))

    uniform = Uniform.as_published()
    assert settings(uniform, "epochs", "learning_rate", "milestones", "teach") == (40, 0.001, (), None)
    assert Uniform.as_published("resnet34-imagenet").epochs == 20

    halp = Knapsack.as_published()
    assert settings(halp, "epochs", "batch_size", "learning_rate", "momentum") == (90, 1024, 1.024, 0.875)
    assert settings(halp, "criterion", "scale", "teach") == (Taylor(absolute=True), "none", None)

    rates = Random.as_published()
    assert settings(rates, "tries", "epochs", "reward_images", "recalibrate_batches") == (800, 200, 5000, 0)
    assert Random.as_published("resnet-imagenet").tries == 10 * (70 - 10)

    zeros = METHODS["magnitude"].as_published()
    assert settings(zeros, "sparsity", "initial_sparsity", "pruning_epochs", "updates") == (0.9, 0, 230, 900)
    assert settings(METHODS["cluster"].as_published(), "clusters", "centroids") == (2**6, "linear")
    rounds = METHODS["qat"].as_published()
    assert settings(rounds, "epochs", "learning_rate", "milestones", "decay") == (100, 1e-5, (30, 60, 90), 0.1)
    assert settings(rounds, "batch_size", "momentum", "schedule", "teach") == (32, 0.9, "step", None)


def test_a_network_that_the_paper_does_not_have():
    with pytest.raises(
        ValueError, match=r"Expected `network` to be one of \('resnet56-cifar10', .*Received: network='vgg'"
    ):
        Uniform.as_published("vgg")


@dataclasses.dataclass(frozen=True)
class Ours(TrainedMethod):
    """A method of somebody else, who says nothing of presets."""

    def phases(self, task):
        return (PhasePlan("fine-tuning", self.epochs),)

    def search(self, task):
        trail = tfcompress.Trail((tfcompress.Plan(),))
        return Search(task.model, trail, (Candidate(trail, task.costs.total),))

    def recover(self, student, task):
        return phases.train_student(student, task, self.training, "fine-tuning")


@dataclasses.dataclass(frozen=True)
class Theirs(Ours):
    """One that says which settings are quick."""

    fast: ClassVar = {"epochs": 2}


def test_a_method_of_somebody_else_has_its_defaults_alone_until_it_says_more():
    with mock.patch.dict(registry._METHODS):
        register_method("ours")(Ours)
        register_method("theirs")(Theirs)
        assert list(Ours.presets()) == ["balanced"]
        assert method_by_name("ours", "balanced") == Ours()
        assert words_for_preset(Ours()) == []
        refusal = (
            r"Expected `preset` to be one of \('balanced',\). Received: preset='fast'. Ours has no other: give its"
        )
        with pytest.raises(ValueError, match=refusal):
            method_by_name("ours", "fast")
        with pytest.raises(ValueError, match=r"Received: Ours, which has none. .*Ours\(...\)"):
            Ours.as_published()
        assert list(Theirs.presets()) == ["fast", "balanced"]
        assert method_by_name("theirs", "fast") == Theirs(epochs=2)


def test_presets_are_refused_where_they_do_not_belong():
    call = {"data": small_tasks.pictures(8), "flops_budget": 0.5, "verbose": 0}
    for preset in ("fast", "balanced"):  # even if it would change nothing
        with pytest.raises(
            ValueError, match=rf"Expected `preset` to be None beside an instance.*RLAL.with_preset\('{preset}'"
        ):
            tfcompress.compress("model.keras", RLAL(), preset=preset, **call)
    with pytest.raises(ValueError, match=r"one of \('fast', 'balanced', 'paper'\). Received: preset='quick'"):
        tfcompress.compress("model.keras", "rlal", preset="quick", **call)
    with pytest.raises(TypeError, match="Expected `preset` to be one of"):
        tfcompress.compress("model.keras", "rlal", preset=5, **call)


def test_words_name_what_was_changed_of_the_nearest_preset():
    assert words_for_preset(Uniform(epochs=7, keep="last")) == ["preset balanced, except epochs=7, keep='last'"]
    # However it was made.
    assert words_for_preset(dataclasses.replace(RLAL.with_preset("fast"), epochs=8)) == ["preset fast, except epochs=8"]
    paper = N2N.as_published("vgg13-mnist", as_released=True)
    assert words_for_preset(paper) == ["preset paper, except for 7 settings"]
    chosen = Uniform(criterion=tfcompress.importance.Taylor(samples=9))
    assert words_for_preset(chosen) == ["preset balanced, except criterion"]


def test_work_in_epochs_of_the_whole_model():
    """Imitation at 0.7, four blocks of four epochs of mixtures at 1.5, and 20 of half the network: 0.7 + 24 + 10."""
    task = small_tasks.task_for(small_tasks.residual_network(activation="softmax"), flops=0.5)
    assert work(DARC().phases(task)) == pytest.approx(34.7, abs=0.05)
    # A search with 2 extra epochs beside 4, each half as long.
    assert work((PhasePlan("a", 4, 0.5, extra=2), PhasePlan("b", 3))) == 6


def test_the_share_of_fast_keeps_what_was_changed(task):
    """30 epochs against 5, both of a network with a third of a teacher beside it."""
    assert share_of_fast(Uniform(), task) == pytest.approx(5 / 30)
    assert share_of_fast(Uniform(epochs=50, batch_size=64), task) == pytest.approx(5 / 50)
    assert share_of_fast(Uniform.with_preset("fast"), task) is None
    assert share_of_fast(Uniform(epochs=6), task) is None  # nothing worth saying
    # 20 steps of an epoch each stay as they were: 30 + 19 against 5 + 19, whatever they cost.
    assert share_of_fast(Uniform(steps=20, step_epochs=9), task) is None
    assert share_of_fast(Ours(), task) is None


def test_a_run_says_its_preset_and_the_time_that_fast_would_take(capsys):
    call = {"data": small_tasks.pictures(64), "flops_budget": 0.8, "verbose": 2}
    with mock.patch.dict(Uniform.__dict__["fast"], epochs=0):
        result = tfcompress.compress(small_tasks.three_convolutions(), "uniform", preset="fast", **call)
    assert "preset fast" in result.notes
    shown = capsys.readouterr().out.splitlines()
    assert "preset fast" in shown[1]


def test_the_line_with_the_time():
    stream, now = io.StringIO(), [0.0]
    progress = Progress(2, stream, lambda: now[0])
    progress.plan(
        [PhasePlan("search", 4, 0.5), PhasePlan("fine-tuning", 30)], "preset balanced", ("preset='fast'", 0.25)
    )
    progress.begin("search", 4)
    now[0] += 10
    progress.epoch_done(1, {})
    # 3 x 10 s and 30 x 20 s are left; all in all it is 640 s, of which a quarter is 160 s.
    assert stream.getvalue().splitlines()[1] == (
        "preset balanced: about 10 min 30 s to go: search 3 epochs (30 s), fine-tuning 30 epochs (10 min 0 s); "
        "with preset='fast' all in about 2 min 40 s"
    )
    progress.begin("fine-tuning", 30)
    now[0] += 20
    progress.epoch_done(1, {})
    assert stream.getvalue().count("preset='fast'") == 1
