"""The file that the last stage of a flow leaves: a size budget is planned for by it, and not by the file of each stage.

What quantization saves comes after the stages that remove layers and channels. Held to the budget by their float32
files, they would remove what the int8 file does not need removed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from tfcompress.costs import Budget, FileSize
from tfcompress.costs.budget import share_that_reaches
from tfcompress.costs.file_size import FILE, INT8, INT8_FILE
from tfcompress.flow.call import Call
from tfcompress.measured import measurements_of
from tfcompress.methods import Method
from tfcompress.methods.order import lowers
from tfcompress.task import Task
from tfcompress.training import NoRunFolder, RunFolder

__all__ = ["LastFile", "keep_last_file", "last_file"]

_KEPT = "last_file"


@dataclasses.dataclass(frozen=True, eq=False)
class LastFile:
    """The file that the last stage would make of the original.

    Attributes:
        size: its size, and that of plans.
        limit: bytes that plans may have.
        whole: bytes that the float32 file of the original has.
    """

    size: FileSize
    limit: int
    whole: float

    def kept(self) -> dict[str, Any]:
        """Returns it as data, from which `last_file` makes it again in another call, where names may be longer."""
        size = self.size
        return {"measured": size.measured, "others": size.form.others, "limit": self.limit, "whole": self.whole}


def last_file(
    call: Call, methods: Sequence[Method], whole: Task, budget: Budget, run: RunFolder | NoRunFolder
) -> LastFile | None:
    """Returns the file that the last stage leaves; `None` if no size is limited, or it leaves the float32 file.

    Args:
        call: the arguments of the flow.
        methods: the methods of the stages.
        whole: the task on the original, without its data.
        budget: the whole budget.
        run: the folder of the flow.

    Raises:
        ValueError: the file is too large, and no stage makes it smaller; or as for `check_model` of the last method.
    """
    if FILE not in budget:
        return None
    groups = call.original.groups
    kept = run.recall(_KEPT, call.progress.note)
    if kept is not None:
        size = FileSize.known(groups, dataclasses.replace(INT8, others=kept["others"]), kept["measured"])
        return LastFile(size, kept["limit"], kept["whole"])
    methods[-1].check_model(dataclasses.replace(whole, budget=Budget(), said=[]))
    call.progress.doing("working out the size of the file of the last stage")
    left = methods[-1].file_left(call.original)
    if left is None:
        return None
    before = measurements_of(whole.network, budget.part([FILE]))
    limit = math.floor(budget.measured_limits(before)[FILE])
    if left.measured > limit and not any(lowers(method, INT8_FILE) for method in methods):
        raise ValueError(
            f"Expected a size_budget that the int8 file can meet, which has {left.measured:,} bytes, "
            f"{share_that_reaches(left.measured, int(before[FILE]))} of the float32 file. Received: "
            f"{budget.said(FILE)}, and no stage that removes layers or channels. Put one in front, such as 'uniform'."
        )
    return LastFile(left, max(2, limit - left.reserve), before[FILE])


def keep_last_file(last: LastFile | None, run: RunFolder | NoRunFolder) -> None:
    """Writes into the run folder what another call has to plan by."""
    if last is not None:
        run.write_json(_KEPT, last.kept())
