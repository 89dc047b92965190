"""Random models from all operations that can be pruned, as short Python programs, and what must be true of each.

`drafts()` is a hypothesis strategy of small numbers; `write(draft)` makes a program and its model of them, in which
steps that fit no tensor are left out. So any step can be left out and any number lowered, and what is left is a program
still: that is how the smallest one that fails is found. `check` compares a model cut by a plan with what three independent routes say of it.
"""

from random_graphs import anywhere, images, rearranging, sequences  # noqa: F401  (each registers its operations)
from random_graphs.checks import check
from random_graphs.drafts import Draft, Written, drafts, write
from random_graphs.programs import OPERATIONS
from random_graphs.runs import BATCH, Failure, Seen, run_batch

__all__ = ["BATCH", "OPERATIONS", "Draft", "Failure", "Seen", "Written", "check", "drafts", "run_batch", "write"]
