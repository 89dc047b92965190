"""First lines of docstrings name a thing or an act: no first line begins with What, Those, Such, No, or There."""

import ast
import pathlib

_PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "tfcompress"
_WORDS = {"What", "Those", "Such", "No", "There"}


def offending(source):
    """`[(line, first line of the docstring), ...]` of modules, classes and functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    lines = [(node.body[0].lineno, (ast.get_docstring(node) or "").partition("\n")[0]) for node in nodes if node.body]
    return [(number, line) for number, line in lines if line.split(" ")[0].strip(".,:;`") in _WORDS]


def test_no_first_line_begins_with_a_word_that_says_nothing():
    lines = {
        path.relative_to(_PACKAGE).as_posix(): offending(path.read_text(encoding="utf-8"))
        for path in sorted(_PACKAGE.rglob("*.py"))
    }
    assert [(file, *line) for file, of_file in lines.items() for line in of_file] == []


def test_the_rule_sees_modules_classes_and_functions_private_ones_too():
    source = (
        '"""What it is."""\nclass A:\n    """Those."""\n    def _f(self):\n        """No: never.\n\n        More."""\n'
    )
    assert offending(source) == [(1, "What it is."), (3, "Those."), (5, "No: never.")]
    assert offending('"""Whatever it is."""\ndef f():\n    """Nothing. What else?"""\n') == []
