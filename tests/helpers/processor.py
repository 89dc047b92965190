"""Skips what TensorFlow cannot run on this machine, which is found out by trying it and not by a list of processors."""

import unittest

from tfcompress.graph import check_runs_here


def skip_where_it_cannot_run(model):
    """Skips the test, or the subtest, with the reason."""
    try:
        check_runs_here(model)
    except ValueError as error:
        raise unittest.SkipTest(str(error)) from None
