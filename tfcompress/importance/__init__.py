"""Importance criteria, which rank a group's channels: one per file, `(group, evidence) -> one number per channel`."""

from tfcompress import expect
from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.importance.activation_mean import ActivationMean
from tfcompress.importance.bn_scale import bn_scale
from tfcompress.importance.evidence import Criterion, Evidence, GroupWeight, MissingData, ranking, scores_of
from tfcompress.importance.feature_map_taylor import FeatureMapTaylor
from tfcompress.importance.fisher import Fisher
from tfcompress.importance.geometric_median import geometric_median
from tfcompress.importance.group_l1_norm import group_l1_norm
from tfcompress.importance.group_l2_norm import group_l2_norm
from tfcompress.importance.l1_norm import l1_norm
from tfcompress.importance.l2_norm import l2_norm
from tfcompress.importance.next_layer_l1_norm import next_layer_l1_norm
from tfcompress.importance.passes import Activations, Gates, Products
from tfcompress.importance.random import RandomScores
from tfcompress.importance.taylor import Taylor

__all__ = [
    "ActivationMean",
    "Activations",
    "Criterion",
    "Evidence",
    "FeatureMapTaylor",
    "Fisher",
    "Gates",
    "GroupWeight",
    "MissingData",
    "Products",
    "RandomScores",
    "Taylor",
    "bn_scale",
    "by_name",
    "geometric_median",
    "group_l1_norm",
    "group_l2_norm",
    "l1_norm",
    "l2_norm",
    "next_layer_l1_norm",
    "ranking",
    "scores_of",
]

_CRITERIA = {
    "activation_mean": ActivationMean(),
    "bn_scale": bn_scale,
    "feature_map_taylor": FeatureMapTaylor(),
    "fisher": Fisher(),
    "geometric_median": geometric_median,
    "group_l1_norm": group_l1_norm,
    "group_l2_norm": group_l2_norm,
    "l1_norm": l1_norm,
    "l2_norm": l2_norm,
    "next_layer_l1_norm": next_layer_l1_norm,
    "random": RandomScores(),
    "taylor": Taylor(),
}


def by_name(criterion):
    """Returns a criterion by its name (with its defaults), or the function or instance itself.

    Raises:
        ValueError: an unknown name (the message lists the known ones), or a class instead of an instance.
    """
    if isinstance(criterion, type):
        raise ValueError(
            f"Expected `criterion` to be a function, an instance or a name. Received: the class {criterion.__name__}. "
            f"Write its parentheses: criterion={criterion.__name__}()."
        )
    if callable(criterion):
        what = "a function (group, evidence) -> one number per channel"
        return expect.function("criterion", criterion, what, arguments=2)
    if not isinstance(criterion, str) or criterion not in _CRITERIA:
        what = f"a function or one of {sorted(_CRITERIA)}"
        expect.refuse("criterion", what, criterion, wrong_type=not isinstance(criterion, str))
    return _CRITERIA[criterion]
