"""What tests of methods share: trainings of a few steps run eagerly, see tests/helpers/few_steps.py."""

import contextlib

import few_steps
import pytest


@pytest.fixture(scope="module", autouse=True)
def few_steps_run_eagerly(request):
    """In all of them but those of weights, whose trainings are steps of tensorflow-model-optimization."""
    with contextlib.nullcontext() if "weights" in request.path.parts else few_steps.eagerly():
        yield
