"""Checks of the criteria's settings."""

__all__ = ["expect_counts"]


def expect_counts(owner, *names):
    """Expects whole numbers above 0.

    Raises:
        ValueError: something else.
    """
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"Expected `{name}` to be a whole number, 1 or more. Received: {name}={value!r}")
