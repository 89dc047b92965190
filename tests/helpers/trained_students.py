"""A method whose search trains its answers: students of several widths, of which the best is taken."""

import dataclasses

from tfcompress.evaluation import Evaluator
from tfcompress.methods import Candidate, Search, Uniform, phases
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import replay
from tfcompress.training import PhasePlan, seed_layers


@dataclasses.dataclass(frozen=True)
class TrainedStudents(Uniform):
    """Trains a student for each share of channels, cut in two plans, and goes on with the best of them.

    Attributes:
        shares: of the channels that stay in each group, for each student.
        student_epochs: epochs of training for each.
    """

    shares: tuple[float, ...] = (0.5, 0.25)
    student_epochs: int = 1
    recalibrate_student: int = 0  # they are trained after the cut

    def phases(self, task):
        students = (PhasePlan(f"student {number}", self.student_epochs) for number in range(1, len(self.shares) + 1))
        return (*students, PhasePlan("fine-tuning", self.epochs))

    def trail(self, task, share):
        """The first channels of half of the groups, then those of the other half."""
        kept = {group.name: tuple(range(max(1, int(group.size * share)))) for group in task.groups}
        names = list(kept)
        return Trail(tuple(Plan.keeping({name: kept[name] for name in half}) for half in (names[::2], names[1::2])))

    def search(self, task):
        candidates, history = [], {}
        for number, share in enumerate(self.shares, start=1):
            trail = self.trail(task, share)
            student = replay(task.model, trail)
            seed_layers(student, task.seed, 900, number)
            training = dataclasses.replace(self.training, epochs=self.student_epochs)
            logs = phases.train_student(student, task, training, f"student {number}")
            history |= {f"student {number}: {name}": values for name, values in logs.items()}
            splits, metric = task.splits, task.objective.metric_name
            score = Evaluator(student, task.objective)(splits.validation.batches(250))[metric]
            kept = {edit.group: edit.indices for plan in trail for edit in plan}
            candidates.append(Candidate(trail, task.costs.of(Plan.keeping(kept)), score, f"student {number}", student))
        best = max(candidates, key=lambda candidate: candidate.score)
        return Search(task.model, best.trail, tuple(candidates), history, student=best.model)
