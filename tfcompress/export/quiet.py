"""Keeps converters and interpreters from writing to the terminal."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

import tensorflow as tf
from absl import logging as absl_logging


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences standard output, standard error, warnings and the loggers of TensorFlow while it lasts.

    The converter is C++ and writes past Python, hence the file descriptor. Whatever matters comes as an exception.
    """
    logger, verbosity = tf.get_logger(), absl_logging.get_verbosity()
    level = logger.level
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(sink))
        stack.enter_context(contextlib.redirect_stderr(sink))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_descriptor_to(sink.fileno()))
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        absl_logging.set_verbosity(absl_logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
            absl_logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _descriptor_to(target: int, descriptor: int = 2) -> Iterator[None]:
    try:
        saved = os.dup(descriptor)
    except OSError:  # a program without a terminal may have no standard error
        yield
        return
    try:
        os.dup2(target, descriptor)
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
