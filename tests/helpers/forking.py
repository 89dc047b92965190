"""A process that forks a run for each line that it reads, so that all of them share one import of TensorFlow."""

import gc
import json
import os
import sys

import tensorflow as tf

__all__ = ["serve"]


def serve(run):
    """Calls `run(**arguments)` in a process of its own for each line of JSON, and answers with its exit code.

    Args:
        run: a function; an exception makes the exit code 1.
    """
    # As in tests/conftest.py: graphs are run few times, and a collection would look at all of TensorFlow each time.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    print("ready", flush=True)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            code = 1
            try:
                run(**json.loads(line))
                code = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
