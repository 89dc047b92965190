"""Where students begin: with what is left of the teacher, whose statistics are taken anew, or afresh as in the paper."""

from unittest import mock

import keras
import numpy as np
import pytest
import teachers
import tensorflow as tf

from tfcompress.methods import KD, LIT, BornAgain, Hint, Scratch, phases
from tfcompress.methods.distillation.base import PAPER

SHORT = {"epochs": 1, "learning_rate": 0.05, "batch_size": 40}
DATA = teachers.small_tasks.pictures(40)
VALIDATION = teachers.small_tasks.pictures(10, seed=2)


def observed(method):
    teacher = teachers.trained_teacher(blocks=(2, 2))
    result, phases = teachers.observed(teacher, method, DATA, validation_data=VALIDATION)
    return teachers.weights_of(teacher), result, phases


def statistics_along_its_path(weights, blocks):
    """By Keras: with a momentum of zero, running statistics are those of the last batch."""
    student = teachers.classifier(blocks=blocks)
    for weight in student.weights:
        weight.assign(weights[weight.path])
    for layer in student.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    student(DATA[0], training=True)
    return {path: value for path, value in teachers.weights_of(student).items() if "moving" in path}


def assert_close(found, expected):
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=1e-3, atol=1e-4, err_msg=path)


class StartTest(tf.test.TestCase):
    def test_with_the_teachers_blocks_and_the_statistics_of_its_own_path(self):
        for method in (KD(**SHORT, blocks=(2, 1)), Hint(**SHORT, hint_epochs=1, blocks=(2, 1))):
            with self.subTest(method.name):
                of_teacher, _, (first, *_) = observed(method)
                own = {path: value for path, value in first.before.items() if path in of_teacher}
                self.assertNotIn("section2_block2_conv1/kernel", own)
                for path, value in own.items():
                    if "moving" not in path:
                        self.assertAllEqual(value, of_teacher[path], path)
                assert_close(own, statistics_along_its_path(own, (2, 1)))
                self.assertIn("section2_block1_conv1/kernel" if method.name == "kd" else "stem/kernel", first.moved)

    def test_a_sequence_begins_with_what_is_left_of_the_student_before(self):
        _, _, (first, second) = observed(KD(**SHORT, blocks=((1, 2), (1, 1)), recalibrate_student=0))
        self.assertIn("stem/kernel", first.moved)
        for path, value in second.before.items():
            self.assertAllEqual(value, first.after[path], path)
        self.assertNotIn("section2_block2_conv1/kernel", second.before)

    def test_what_lost_nothing_keeps_its_statistics(self):
        of_teacher, _, (phase,) = observed(KD(**SHORT, blocks=(2, 2)))
        for path, value in phase.before.items():
            self.assertAllEqual(value, of_teacher[path], path)

    def test_lit_takes_them_between_its_phases(self):
        """Until then they are those of the path that the teacher feeds."""
        _, _, (sections, finetuning) = observed(LIT(**SHORT, finetune_epochs=1, blocks=(1, 1)))
        own = statistics_along_its_path(sections.after, (1, 1))
        assert_close(finetuning.before, own)
        self.assertGreater(max(np.abs(sections.after[path] - value).max() for path, value in own.items()), 0.05)
        _, _, (sections, finetuning) = observed(LIT(**SHORT, finetune_epochs=1, blocks=(1, 1), recalibrate_student=0))
        for path, value in finetuning.before.items():
            self.assertAllEqual(value, sections.after[path], path)

    def test_lit_begins_with_the_teachers_sections_and_holds_its_stem_and_head(self):
        of_teacher, _, (sections, _) = observed(LIT(**SHORT, finetune_epochs=1, blocks=(1, 1)))
        for path, value in sections.before.items():
            self.assertAllEqual(value, of_teacher[path], path)
        self.assertEqual({path for path in sections.moved if path.startswith(("stem", "head"))}, set())
        self.assertIn("section1_block1_conv1/kernel", sections.moved)


def test_frozen_layers_of_what_lost_blocks_are_trained_and_taken_anew():
    model = teachers.classifier(blocks=(2, 2))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.get_layer("section1_block1_conv1").trainable = False
    model.get_layer("section1_block1_conv1_bn").trainable = False
    result, (phase,) = teachers.observed(model, KD(**SHORT, blocks=(1, 2)), DATA, validation_data=VALIDATION)
    assert {"section1_block1_conv1/kernel", "section1_block1_conv1_bn/gamma"} <= phase.moved
    names = "section1_block1_conv1, section1_block1_conv1_bn"
    assert f"2 frozen layers of a student that lost blocks are trained: {names}" in result.notes
    assert not result.model.get_layer("section1_block1_conv1").trainable
    own = statistics_along_its_path(phase.before, (1, 2))
    np.testing.assert_allclose(
        phase.before["section1_block1_conv1_bn/moving_mean"], own["section1_block1_conv1_bn/moving_mean"], atol=1e-5
    )


@pytest.mark.parametrize("method", [Scratch, BornAgain])
def test_yardsticks_begin_afresh(method):
    assert method().start == "fresh"
    with pytest.raises(ValueError, match=r"`start` to be one of \('fresh',\). Received: start='teacher'\. "):
        method(start="teacher")


def test_statistics_are_no_frozen_weights():
    """Of a student whose layers are all trained, nothing is said."""
    model = teachers.classifier(blocks=(1, 2))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for start in ("fresh", "teacher"):
        result = teachers.compress(model, KD(epochs=0, blocks=(1, 1), start=start), DATA, validation_data=VALIDATION)
        assert not [note for note in result.notes if "frozen" in note]


def test_settings():
    for wrong in ({"start": "original"}, {"recalibrate_student": -1}, {"relative": 1}):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"`{name}`.*{value}"):
            LIT(**wrong)
    with pytest.raises(ValueError, match="Expected no `copy` with freeze= if all parts start"):
        LIT(copy=("head",), freeze=("stem",))
    assert LIT(copy=("head",), freeze=("stem",), start="fresh").copy == ("head",)


def test_learning_rates_follow_from_where_students_begin():
    student = teachers.classifier(blocks=(1, 1))

    def first(method):
        return float(method.training.schedule_for(True)(0, 30))

    for kind in (KD, LIT, Hint):
        assert first(kind()) == pytest.approx(0.01)
        assert first(kind(batch_size=96)) == pytest.approx(0.03)
        assert first(kind(batch_size=1024)) == pytest.approx(0.1)
        assert first(kind(start="fresh")) == first(kind(student=student)) == pytest.approx(0.1)
        assert first(kind(learning_rate=0.2)) == pytest.approx(0.2)
    assert first(Scratch()) == first(BornAgain()) == pytest.approx(0.1)


def test_hints_are_learned_at_a_rate_of_their_own():
    """As the first of two phases; at the rate that is given, or at 0.1 whatever the second phase trains with."""
    for rates, expected in (
        ({}, (0.1, 0.01)),
        ({"learning_rate": 0.05}, (0.05, 0.05)),
        ({"learning_rate": 0.05, "hint_learning_rate": 0.2}, (0.2, 0.05)),
    ):
        with mock.patch.object(phases, "train_phase", return_value={}) as trained:
            teachers.compress(
                teachers.trained_teacher(blocks=(2, 2)), Hint(blocks=(1, 1), **rates), DATA, validation_data=VALIDATION
            )
        assert tuple(call.args[2].learning_rate for call in trained.call_args_list) == expected
        assert tuple(call.args[2].epochs for call in trained.call_args_list) == (10, 20)


# Appendix A of the paper: "For all experiments, we used a batch size of 32, SGD with a momentum of 0.9, and weight
# decay of 1e-4", milestones "decaying the learning rate by a factor of 10", `tau = 6` and `alpha = 0.95`.
EVERY = {
    "batch_size": 32,
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "learning_rate": 0.1,
    "schedule": "step",
    "decay": 0.1,
    "mixed_precision": None,
    "keep": "last",
    "start": "fresh",
    "recalibrate_student": 0,
}
TARGETS = {"alpha": 0.95, "tau": 6.0, "soft": "cross_entropy", "scale_by_tau": True}
COMPARED = {"loss": "l2", "relative": False}
SECTIONS = {**COMPARED, "teacher_input": True, "hints": None, "copy": ("stem", "head"), "freeze": None}
PUBLISHED = [
    (Scratch, "resnet", {"epochs": 200, "reference_epochs": 200, "milestones": (100, 150)}),
    (KD, "resnet", {**TARGETS, "epochs": 250, "reference_epochs": 250, "milestones": (100, 175)}),
    (
        LIT,
        "resnet",
        {
            **TARGETS,
            **SECTIONS,
            "beta": 0.75,
            "epochs": 175,
            "reference_epochs": 175,
            "milestones": (60, 100, 125),
            "finetune_epochs": 75,
            "finetune_reference_epochs": 75,
            "finetune_milestones": (35, 55),
            "finetune_learning_rate": 0.01,
        },
    ),
    (
        Hint,
        "resnet",
        {
            **TARGETS,
            **COMPARED,
            "hint": None,
            "hint_learning_rate": None,
            "hint_epochs": 75,
            "epochs": 175,
            "reference_epochs": 175,
            "milestones": (60, 100, 125),
        },
    ),
    (Scratch, "resnext", {"epochs": 300, "reference_epochs": 300, "milestones": (150, 225)}),
    (KD, "resnext", {**TARGETS, "epochs": 300, "reference_epochs": 300, "milestones": (100, 175, 225)}),
    (
        LIT,
        "resnext",
        {
            **TARGETS,
            **SECTIONS,
            "beta": 0.5,
            "epochs": 200,
            "reference_epochs": 200,
            "milestones": (100, 145, 175),
            "finetune_epochs": 125,
            "finetune_reference_epochs": 125,
            "finetune_milestones": (65, 95, 110),
            "finetune_learning_rate": 0.01,
        },
    ),
]


@pytest.mark.parametrize(("kind", "network", "paper"), PUBLISHED, ids=lambda value: str(getattr(value, "name", ""))[:9])
def test_as_published_has_every_number_of_the_paper_and_none_of_the_defaults(kind, network, paper):
    method, spelled = kind.as_published(network), {**PAPER, **kind.published()[network]}
    for name, value in {**EVERY, **paper}.items():
        assert getattr(method, name) == value, name
        assert spelled[name] == value, name


def test_other_networks_of_the_paper_spell_their_numbers():
    for kind, network in ((LIT, "vdcnn"), (KD, "vdcnn"), (Hint, "vdcnn"), (BornAgain, "resnet"), (LIT, "stargan")):
        spelled = {**PAPER, **kind.published()[network]}
        assert spelled.keys() >= EVERY.keys(), (kind, network)
        method = kind.as_published(network)
        assert (method.start, method.keep, method.schedule) == ("fresh", "last", "step")
        assert getattr(method, "relative", False) is False
        if network != "stargan":
            assert (method.alpha, method.tau) == (0.98 if network == "vdcnn" else 0.95, 6.0)
