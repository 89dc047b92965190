"""The site of documentation: its navigation lists every page, and its reference every public name. Nothing is built."""

import ast
import functools
import pathlib
import re

import yaml

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_DOCS = _ROOT / "docs"
_PACKAGE = _ROOT / "tfcompress"
_DIRECTIVE = re.compile(r"^::: (\S+)$", re.M)
# Learners, the bridge, the command, checks of settings, and what runs a flow: other packages do not call them.
_NOT_PUBLIC = {"agents", "cli", "expect", "flow", "tfmot_bridge"}


def pages_of(nav):
    """The pages that an entry of the navigation lists, those of sections inside it too."""
    if isinstance(nav, str):
        return [nav]
    return [page for entry in nav for page in pages_of(list(entry.values()) if isinstance(entry, dict) else entry)]


@functools.cache
def tree_of(module):
    path = _ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def defined(module, name):
    """Where a name comes from: `module.name` of the module that does not import it from another one."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tfcompress."):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return defined(node.module, alias.name)
    return f"{module}.{name}"


def names_of(module):
    for node in tree_of(module).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return [name for name in ast.literal_eval(node.value) if not name.startswith("__")]
    return []


def public_modules():
    packages = [path.parent for path in _PACKAGE.glob("*/__init__.py") if path.parent.name not in _NOT_PUBLIC]
    packages += [path.parent for path in (_PACKAGE / "methods").glob("*/__init__.py")]
    return ["tfcompress", "tfcompress.plan", *(".".join(path.relative_to(_ROOT).parts) for path in sorted(packages))]


def shown():
    """What the pages of the reference show, `package.name` each."""
    pages = sorted((_DOCS / "reference").glob("*.md"))
    return [name for page in pages for name in _DIRECTIVE.findall(page.read_text(encoding="utf-8"))]


def test_the_navigation_lists_every_page_once():
    nav = yaml.safe_load((_ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(pages_of(nav)) == sorted(path.relative_to(_DOCS).as_posix() for path in _DOCS.rglob("*.md"))


def test_the_reference_shows_every_public_name():
    there = {defined(*name.rsplit(".", 1)) for name in shown()}
    missing = [
        f"{module}.{name}"
        for module in public_modules()
        for name in names_of(module)
        if defined(module, name) not in there
    ]
    assert missing == []
    assert len(there) > 200


def test_the_reference_shows_nothing_twice():
    origins = [defined(*name.rsplit(".", 1)) for name in shown()]
    assert [name for name in origins if origins.count(name) > 1] == []


def test_names_are_followed_to_where_they_are_defined():
    assert defined("tfcompress", "Budget") == "tfcompress.costs.budget.Budget"
    assert defined("tfcompress.methods", "Training") == "tfcompress.training.settings.Training"
    assert defined("tfcompress.importance", "by_name") == "tfcompress.importance.by_name"
    assert pages_of(["a.md", {"B": "b.md"}, {"C": [{"D": "d.md"}, "e.md"]}]) == ["a.md", "b.md", "d.md", "e.md"]
