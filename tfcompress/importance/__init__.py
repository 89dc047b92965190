"""Which channels of a group matter most: one criterion a file, `(group, evidence) -> one number a channel`."""

from tfcompress.importance.evidence import Criterion, Evidence, ranking
from tfcompress.importance.l1_norm import l1_norm
from tfcompress.importance.l2_norm import l2_norm

__all__ = ["Criterion", "Evidence", "by_name", "l1_norm", "l2_norm", "ranking"]

_CRITERIA = {"l1_norm": l1_norm, "l2_norm": l2_norm}


def by_name(criterion):
    """A criterion by its name, or the function itself.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if callable(criterion):
        return criterion
    if not isinstance(criterion, str) or criterion not in _CRITERIA:
        raise ValueError(
            f"Expected `criterion` to be a function or one of {sorted(_CRITERIA)}. Received: criterion={criterion!r}"
        )
    return _CRITERIA[criterion]
