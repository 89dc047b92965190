"""The code of a page in docs/, or of README.md, run as it stands there.

A page is a list of steps, in its order: each fenced block of Python, and each `tfcompress` command of a fenced block of
bash. A test opens a page by its name and runs the steps, all at once or some at a time; a page of which steps are left
at the end of the test fails it. tests/docs/test_every_page.py sees to it that some test opens each page.
"""

import contextlib
import dataclasses
import glob
import io
import itertools
import pathlib
import re
import shlex
import textwrap
from unittest import mock

import few_steps
import keras
import tensorflow as tf
from absl.testing import flagsaver

import tfcompress.layers  # noqa: F401, so that its handlers are there before a test, and stay
from tfcompress import cli
from tfcompress.costs import metrics
from tfcompress.graph.handlers import base as handlers
from tfcompress.methods import registry
from tfcompress.replacements import base as replacements
from tfcompress.training import StepTime

ROOT = pathlib.Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```[ ]*$", re.M | re.S)
_TABLES = (registry._METHODS, replacements._REPLACEMENTS, handlers._BY_CLASS, metrics._METRICS)


def pages():
    """The names of README.md and of all pages in docs/, in alphabetical order."""
    paths = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Step:
    """Code of a page.

    Attributes:
        kind: "python", or "command": the line of a command without `tfcompress`.
        code: what is run.
        line: where it begins, counted from 1.
    """

    kind: str
    code: str
    line: int


def languages(text):
    """What is behind the opening fence of each block of a page, but for settings such as a title."""
    return [fence[2].split()[0] if fence[2].strip() else "" for fence in _FENCE.finditer(text)]


def steps_of(text):
    """The steps of a page in their order."""
    steps = []
    for fence, language in zip(_FENCE.finditer(text), languages(text), strict=True):
        line, code = text.count("\n", 0, fence.start(3)) + 1, textwrap.dedent(fence[3])
        if language == "python":
            steps.append(Step("python", code, line))
        elif language == "bash":
            steps += [Step("command", command, line) for command in _commands(code)]
    return steps


def _commands(code):
    """The arguments of each `tfcompress` in lines of a shell, without what the shell does with it."""
    for line in code.replace("\\\n", " ").splitlines():
        for command in line.split("&&"):
            words = list(itertools.takewhile(_is_no_redirection, shlex.split(command, comments=True)))
            if words[:1] == ["nohup"]:
                words = words[1:]
            if words and pathlib.PurePath(words[0]).name == "tfcompress":
                yield shlex.join(words[1:])


def _is_no_redirection(word):
    return word not in ("&", "|", "<", ">", ">>", "2>", "2>&1")


def command(line):
    """Runs `tfcompress` with the arguments of a line, stars and all; returns what it printed."""
    arguments = []
    for word in shlex.split(line):
        arguments += sorted(glob.glob(word)) if "*" in word and glob.glob(word) else [word]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), flagsaver.flagsaver():
        try:
            cli.main(arguments)
        except SystemExit as end:
            if end.code:
                raise AssertionError(f"tfcompress {line}\nended with exit code {end.code}:\n{err.getvalue()}") from end
    return out.getvalue()


class Page:
    """The steps of a page, and the names that its code shares.

    Attributes:
        names: what the code finds, and what it leaves.
        left: the steps that have not been run.
        printed: what the last steps printed.
    """

    def __init__(self, name, text, names):
        self.name, self.names, self.printed = name, names, ""
        self.left = steps_of(text)

    def run(self, count=None, names=None):
        """Runs the next steps, or all that are left; returns the names.

        Args:
            count: how many steps; `None` for all that are left.
            names: other names than the page's.
        """
        names, printed = self.names if names is None else names, io.StringIO()
        count = len(self.left) if count is None else count
        if not 0 < count <= len(self.left):
            raise AssertionError(f"{self.name} has {len(self.left)} steps left, not {count}")
        steps, left = self.left[:count], self.left[count:]
        self.left = []  # a step that fails is the only failure
        for step in steps:
            if step.kind == "python":
                # With the lines of the page in a traceback.
                code = compile("\n" * (step.line - 1) + step.code, self.name, "exec")
                with contextlib.redirect_stdout(printed):
                    exec(code, names)
            else:
                printed.write(command(step.code))
        self.left = left
        self.printed = printed.getvalue()
        return names


@contextlib.contextmanager
def registered_for_a_while():
    """Takes out again what is registered inside: methods, metrics, layers, replacements."""
    with contextlib.ExitStack() as stack:
        for table in (*_TABLES, keras.saving.get_custom_objects()):
            stack.enter_context(mock.patch.dict(table))
        yield


class PageTest(tf.test.TestCase):
    """A test in an empty folder, which leaves no method, metric, layer or replacement of a page behind.

    No step is timed for what a run says of its length: that compiles the training once more, a second or more a run. A
    training of a few steps runs eagerly, see few_steps.py.
    """

    def setUp(self):
        super().setUp()
        self.enterContext(contextlib.chdir(self.get_temp_dir()))
        self.enterContext(registered_for_a_while())
        self.enterContext(mock.patch("tfcompress.workflow.measured_step", return_value=StepTime(0.01, 1.0)))
        self.enterContext(few_steps.eagerly())

    def open_page(self, name, **names):
        """The page of this name, such as "docs/presets.md", whose code finds `names`."""
        page = Page(name, text_of(name), names)
        self.addCleanup(self._all_was_run, page)
        return page

    def _all_was_run(self, page):
        self.assertEmpty(page.left, f"{page.name}: not run")
