"""The recipes' --smoke runs, two at a time, each in a process forked from this one, which has TensorFlow imported.

    python .ci/smoke.py FOLDER RECIPE...

runs each recipe as `python RECIPE --smoke` does, but for the six seconds of imports, and executes a notebook. What a
run said is printed when it has ended, and kept in FOLDER. Ends with 1 if a run failed.
"""

import os
import pathlib
import runpy
import sys
import time

import keras  # noqa: F401
import tensorflow as tf  # noqa: F401

# No device is looked for by these imports, so that a process may fork.
import tfcompress.methods
import tfcompress.zoo  # noqa: F401

AT_ONCE = 2


def begun(recipe: str, log: pathlib.Path) -> int:
    """Starts a recipe's run in a process of its own, which writes to a log; returns its id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        if recipe.endswith(".ipynb"):
            jupyter = str(pathlib.Path(sys.executable).with_name("jupyter"))
            os.execv(jupyter, [jupyter, "execute", "--timeout=300", f"--output={log.resolve()}.ipynb", recipe])
        sys.argv = [recipe, "--smoke"]
        sys.path[0] = str(pathlib.Path(recipe).parent.resolve())
        runpy.run_path(recipe, run_name="__main__")
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(folder: str, *recipes: str) -> int:
    """Runs all recipes; returns the exit code."""
    waiting, running, failed = list(recipes), {}, False
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            recipe = waiting.pop(0)
            log = pathlib.Path(folder, pathlib.Path(recipe).name + ".log")
            running[begun(recipe, log)] = recipe, log, time.monotonic()
        process, status = os.wait()
        if process not in running:  # of a library
            continue
        recipe, log, start = running.pop(process)
        code = os.waitstatus_to_exitcode(status)
        failed |= code != 0
        ended = f"ended with {code}, " if code else ""
        text = log.read_text(errors="replace")
        print(f"\n== {recipe}\n{text}\n== {recipe}: {ended}{time.monotonic() - start:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
