"""A variable is named for what it holds: none is named found, strange, one, or other."""

import ast
import pathlib

_PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "tfcompress"
_WORDS = {"found", "strange", "one", "other"}
_COMPARISONS = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}


def names_of(node):
    """The variables that a node makes: by assignment, loop, comprehension, argument, `except ... as`, or pattern."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        return [node.name]
    return [node.rest] if isinstance(node, ast.MatchMapping) else []


def offending(source):
    """`[(line, name), ...]` of variables with such a name; the arguments of comparison methods may have it."""
    nodes = list(ast.walk(ast.parse(source)))
    comparisons = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name in _COMPARISONS]
    allowed = {id(argument) for node in comparisons for argument in ast.walk(node.args)}
    named = [(node.lineno, name) for node in nodes if id(node) not in allowed for name in names_of(node)]
    return sorted((line, name) for line, name in named if name in _WORDS)


def test_no_variable_has_a_name_that_does_not_say_what_it_holds():
    names = {
        path.relative_to(_PACKAGE).as_posix(): offending(path.read_text(encoding="utf-8"))
        for path in sorted(_PACKAGE.rglob("*.py"))
    }
    assert [(file, *name) for file, of_file in names.items() for name in of_file] == []


def test_the_rule_sees_every_kind_of_variable_but_the_argument_of_a_comparison():
    kinds = [
        "found = 1",
        "found: int = 1",
        "found += 1",
        "strange, (one, *other) = 1, (2, 3)",
        "if found := 1: pass",
        "for one in (): pass",
        "with open('f') as found: pass",
        "[0 for other in ()]",
        "{one: 0 for one, found in ()}",
        "lambda one: 0",
        "def f(one, /, found, *other, strange=0): pass",
        "try: pass\nexcept ValueError as strange: pass",
        "match 0:\n    case [one, *other]: pass\n    case {'key': 0, **strange}: pass\n    case _ as found: pass",
    ]
    seen = [[name for _, name in offending(source)] for source in kinds]
    several = ["one", "other", "strange"]
    assert seen[:4] == [["found"], ["found"], ["found"], several]
    assert seen[4:10] == [["found"], ["one"], ["found"], ["other"], ["found", "one"], ["one"]]
    assert seen[10:] == [["found", *several], ["strange"], [*several, "found"]]
    assert offending("class A:\n    def __eq__(self, other):\n        one = 1\n        return one is other\n") == [
        (3, "one")
    ]
    assert offending("another = a.found = f(one=other)  # found\n") == []
