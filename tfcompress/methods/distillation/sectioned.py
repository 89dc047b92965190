"""The common part of methods that compare sections of student and teacher."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import keras

from tfcompress import expect
from tfcompress.methods.distillation.base import Distilling
from tfcompress.methods.distillation.splitting import (
    check_shapes,
    derived_points,
    matching_points,
    passed_points,
    split_points_of,
)
from tfcompress.network import Network
from tfcompress.task import Task
from tfcompress.training.teaching import SplitModel

__all__ = ["Sectioned"]


@dataclasses.dataclass(frozen=True)
class Sectioned(Distilling):
    """A method that splits student and teacher.

    Attributes:
        loss: how outputs of sections are compared: `"l2"`, `"l1"` or `"smooth_l1"`.
        relative: whether outputs are compared in units of the root mean square of the teacher's output, so that a loss
            of 1 is that of a section whose output is zero, whatever the scale; the paper compares them without units,
            with which networks without BatchNormalization cannot be trained.
        split_points: the teacher's layers at which it is split: the input of the first section, and the output of each
            section; `None` to find the sections.
        student_split_points: the layers at which a given student is split.
    """

    loss: Literal["l2", "l1", "smooth_l1"] = "l2"
    relative: bool = True
    split_points: tuple[str, ...] | None = None
    student_split_points: tuple[str, ...] | None = None

    # Whether what is handed on may have other channels.
    channels_may_differ: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.one_of, "loss", options=("l2", "l1", "smooth_l1"))
        expect.settings(self, expect.flag, "relative")
        points = ("split_points", "student_split_points")
        layers = {"check": expect.text, "what": "names of layers", "empty": False, "or_none": True}
        expect.settings(self, expect.each, *points, **layers)
        if self.student_split_points is not None and self.student is None:
            what = "None if no student= is given"
            expect.refuse("student_split_points", what, self.student_split_points)

    def check_model(self, task: Task) -> None:
        """Refuses split points that do not match."""
        super().check_model(task)
        if self.split_points is not None and self.sections is not None:
            raise ValueError(
                "Expected `sections`, which count the automatically found sections, or `split_points`. Received: both."
            )
        teacher = self.split_teacher(task)
        for given in self.choice.given:
            teacher = self.check_pair(teacher, self._split_given(self._copy(given), teacher))
        if self.student is None:
            for plan in self._plans(task):
                passed_points(task.groups.graph, teacher.boundaries, plan.removed)

    def check_pair(self, teacher: SplitModel, student: SplitModel) -> SplitModel:
        """Refuses a given student that cannot learn from a teacher; returns it, as the teacher of the next one."""
        del teacher
        return student

    def split_teacher(self, task: Task) -> SplitModel:
        """Returns the task's own model, split."""
        network = task.network_of(task.original)
        return SplitModel(network, split_points_of(network, self.split_points))

    def _split_given(self, student: keras.Model | Network, teacher: SplitModel) -> SplitModel:
        network = Network.of(student)
        points = matching_points(teacher, network, self.student_split_points, self.channels_may_differ)
        split = SplitModel(network, points)
        check_shapes(split, teacher, self.channels_may_differ)
        return split

    def split(self, student: keras.Model, teacher: keras.Model, task: Task) -> tuple[SplitModel, SplitModel]:
        """Returns student and teacher, split at the points where they match."""
        original = self.split_teacher(task)
        if self.student is None:
            whole = task.network_of(task.original)
            of_student, of_teacher = (
                SplitModel(network, derived_points(whole, original.boundaries, network))
                for network in map(task.network_of, (student, teacher))
            )
            return of_student, of_teacher
        if teacher is not task.original:  # an earlier student
            original = self._split_given(task.network_of(teacher), original)
        return self._split_given(task.network_of(student), original), original
