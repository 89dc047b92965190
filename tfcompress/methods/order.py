"""The order of the methods of a flow: which may follow which, and which metrics each can lower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfcompress.methods.base import Method

__all__ = ["KINDS", "check_order", "followers", "is_of_weights", "lowers", "obeyed"]

KINDS: Mapping[str, tuple[str, ...]] = {
    "layers": ("layers", "channels", "sparsity", "clusters", "quantization"),
    "channels": ("channels", "sparsity", "clusters", "quantization"),
    "sparsity": ("sparsity", "clusters", "quantization"),
    "clusters": ("quantization",),
    "quantization": (),
}
"""The kinds of methods in the order of a flow, each with the kinds that may follow it."""

_REASONS = {
    "channels": "layers that go later take with them the channels that were chosen for them",
    "sparsity": "a change of layers or channels trains the zeros away",
    "clusters": "whatever trains or zeroes weights afterwards breaks up the clusters",
    "quantization": "its result is a file of whole numbers, which nothing here trains",
}
# What is measured on a file, which weights of fewer values make smaller; every metric is lowered by fewer weights.
_OF_FILES: Mapping[str, tuple[str, ...]] = {
    "sparsity": ("file_bytes",),
    "clusters": ("file_bytes",),
    "quantization": ("file_bytes", "latency_ms"),
}


def followers(method: Method) -> tuple[str, ...]:
    """Returns the kinds of methods that may follow a method in a flow: its `followed_by`, or those of its kind."""
    return KINDS.get(method.kind, tuple(KINDS)) if method.followed_by is None else method.followed_by


def lowers(method: Method, metric: str) -> bool:
    """Whether a method can lower a metric of a budget: one of its `lowers`, or of those of its kind."""
    metrics = _OF_FILES.get(method.kind) if method.lowers is None else method.lowers
    return metrics is None or metric in metrics


def is_of_weights(method: Method) -> bool:
    """Whether a method changes weights and leaves the architecture, so that its gain shows in a file alone."""
    return method.kind in _OF_FILES


def obeyed(method: Method) -> tuple[str, ...]:
    """Returns the arguments of `Control` that a method obeys: its `controlled_by`, or those of its kind."""
    if method.controlled_by is not None:
        return method.controlled_by
    layers = ("exclude", "only")
    return layers if is_of_weights(method) else (*layers, "ratio_limits", "round_to", "through_norms")


def check_order(methods: Sequence[Method]) -> None:
    """Refuses stages in an order that cannot work.

    Args:
        methods: the methods in the order of their stages.

    Raises:
        ValueError: the message names the two stages, says why, and spells out the right order, or which of the two to
            leave out.
    """
    for number, later in enumerate(methods):
        for earlier in methods[:number]:
            if later.kind not in followers(earlier):
                _refuse(methods, earlier, later)


def _refuse(methods: Sequence[Method], earlier: Method, later: Method) -> None:
    kinds = list(KINDS)
    places = {kind: place for place, kind in enumerate(kinds)}
    ordered = sorted(methods, key=lambda method: places.get(method.kind, len(kinds)))
    names = [method.name for method in ordered]
    works = all(b.kind in followers(a) for i, b in enumerate(ordered) for a in ordered[:i])
    advice = f"The right order is method={names}." if works else f"Leave out {earlier.name!r} or {later.name!r}."
    reason = _REASONS.get(earlier.kind, "") if earlier.followed_by is None else ""
    because = f": {reason}" if reason else ""
    after = ", ".join(followers(earlier)) or "nothing"
    raise ValueError(
        f"Expected stages in an order that can work: layers, then channels, then {', '.join(kinds[2:])}. "
        f"Received: method={[method.name for method in methods]}, in which {later.name!r} (of the kind {later.kind!r}) "
        f"comes after {earlier.name!r} ({earlier.kind!r}), which may be followed by {after}{because}. {advice}"
    )
