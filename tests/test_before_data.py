"""Refusals before any data is read; the first one names the share that is accepted."""

import re
from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks
import teachers
from keras import layers

import tfcompress
from tfcompress import workflow
from tfcompress.methods import AMC, KD, LIT, RLAL, BornAgain, Hint, Random, Scratch, TaylorPruning, Uniform
from tfcompress.methods.amc import method as amc
from tfcompress.methods.rlal import method as rlal

EPISODES = RLAL(epochs=4)


class Counted(keras.utils.PyDataset):
    """Batches of pictures, each of which is counted when it is read."""

    def __init__(self):
        super().__init__()
        self.reads = 0
        self.x, self.y = small_tasks.pictures(32)

    def __len__(self):
        return 4

    def __getitem__(self, number):
        self.reads += 1
        return self.x[8 * number : 8 * number + 8], self.y[8 * number : 8 * number + 8]


@pytest.fixture(autouse=True)
def without_tf_agents(monkeypatch):
    for module in (amc, rlal):
        monkeypatch.setattr(module, "load_tf_agents", lambda: None)


@pytest.fixture(name="teacher", scope="module")
def teacher_of_four_blocks():
    return teachers.classifier(blocks=(2, 2))


def critic():
    """Reads other images than the teacher gives."""
    inputs = keras.Input((5, 5, 3))
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(inputs)))


REFUSED = {
    "a budget out of Uniform's reach": (Uniform(), {"flops_budget": 0.001}, "at least"),
    "a budget out of RLAL's reach": (EPISODES, {"flops_budget": 0.001}, "at least"),
    "a budget out of AMC's reach": (AMC(), {"flops_budget": 0.001}, "at least .* A larger `max_rate` reaches more"),
    "a budget out of Random's reach": (Random(), {"budget": {"params": 0.001}}, "at least"),
    "a budget out of LIT's reach": (LIT(), {"flops_budget": 0.001}, "at least"),
    "no budget": (Uniform(), {}, "Expected a budget"),
    "no budget where the error alone is rewarded": (AMC(reward="error"), {}, "Expected a budget"),
    "rules of an end beside a budget": (
        TaylorPruning(stop_params=9),
        {"flops_budget": 0.5},
        "Expected no `stop_params`",
    ),
    "an empty budget": (Uniform(), {"budget": {}}, "Expected a budget"),
    "a metric that there is not": (Uniform(), {"budget": {"latency": 0.5}}, "latency"),
    "a metric twice": (Uniform(), {"budget": {"macs": 0.5}, "flops_budget": 0.5}, "one limit for each metric"),
    "less of what should grow": (BornAgain(), {"flops_budget": 0.5}, "as large as its teacher"),
    "a layer that there is not": (Uniform(), {"flops_budget": 0.9, "exclude": "nowhere"}, "nowhere"),
    "nothing to prune": (EPISODES, {"flops_budget": 1.0, "exclude": "*"}, "prunable channels"),
    "nothing to prune, and no budget": (AMC(), {"exclude": "*"}, "prunable channels"),
    "nothing to prune, and no budget that is held": (TaylorPruning(), {"exclude": "*"}, "prunable channels"),
    "least ratios between blocks": (Random(), {"flops_budget": 1.0, "ratio_limits": {"stem*": (0.5, 0.9)}}, "inside"),
    "sections that there are not": (LIT(sections=(3,)), {"flops_budget": 0.5}, "sections"),
    "blocks of other sections": (KD(blocks=(1, 1, 1)), {}, "2 sections"),
    "hints of other sections": (LIT(hints=(9,)), {"flops_budget": 0.6}, "hints"),
    "a hint of another section": (Hint(hint=9), {"flops_budget": 0.6}, "hint"),
    "parts that there are not": (LIT(copy=("neck",)), {"flops_budget": 0.6}, "copy"),
    "a split point that there is not": (LIT(split_points=("a", "b")), {"flops_budget": 0.6}, "'a'"),
    "a student of other classes": (KD(student=teachers.classifier(blocks=(1, 1), classes=10)), {}, "classes"),
    "a discriminator of other images": (Scratch(discriminator=critic()), {"flops_budget": 0.6}, "discriminator|domain"),
    "shuffled inputs that there are not": (Scratch(shuffled_inputs=(3,)), {"flops_budget": 0.6}, "shuffled_inputs"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_is_read_where_the_model_alone_is_refused(name, teacher):
    method, settings, message = REFUSED[name]
    data = Counted()
    with pytest.raises(ValueError, match=message):
        tfcompress.compress(teacher, method, data, validation_data=data, verbose=0, **settings)
    assert data.reads == 0


def test_the_data_is_read_where_the_model_is_accepted(teacher):
    data = Counted()
    data.y = data.y + 4  # labels outside the classes
    with pytest.raises(ValueError, match="labels"):
        tfcompress.compress(teacher, Uniform(), data, validation_data=data, flops_budget=0.5, verbose=0)
    assert data.reads > 0


@pytest.mark.parametrize("metric", ["macs", "params"])
@pytest.mark.parametrize(
    "method",
    [EPISODES, AMC(), AMC(max_rate=0.5), Random(), TaylorPruning(), Uniform(), LIT()],
    ids=lambda method: method.name,
)
def test_the_first_refusal_names_the_share_that_is_accepted(method, metric, teacher):
    def refusal(share):
        """The share that is named, or `None` where the model is accepted and its data would be read."""
        try:
            with mock.patch.object(workflow, "given_splits", side_effect=InterruptedError):
                tfcompress.compress(teacher, method, Counted(), budget={metric: share}, verbose=0)
        except InterruptedError:
            return None
        except ValueError as error:
            return re.search(r"at least (\d\.\d{4}) ", str(error))[1]

    named = refusal(0.0001)
    assert refusal(float(named)) is None
    assert refusal(float(np.round(float(named) - 1e-4, 4))) == named
