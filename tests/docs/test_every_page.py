"""Every page of docs/ and README.md: a test runs its code, its links lead somewhere, and a reader finds it."""

import ast
import pathlib
import re

import doc_pages
import tensorflow as tf

HERE = pathlib.Path(__file__).parent
# tests/docs/test_methods.py goes over the folder.
_WHOLE_FOLDERS = ("docs/methods/",)
_LANGUAGES = {"python", "bash", "text"}


def opened(source):
    """The names of the pages that a test file opens."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {
        call.args[0].value for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "open_page"
    }


def links_of(name):
    """The files that a page links to."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", doc_pages.text_of(name))
    return [((doc_pages.ROOT / name).parent / target).resolve() for target in targets]


class EveryPageTest(tf.test.TestCase):
    def test_a_test_runs_the_code(self):
        tested = set().union(*(opened(path.read_text(encoding="utf-8")) for path in HERE.glob("test_*.py")))
        with_code = {name for name in doc_pages.pages() if doc_pages.steps_of(doc_pages.text_of(name))}
        left = {name for name in with_code - tested if not name.startswith(_WHOLE_FOLDERS)}
        self.assertEmpty(left, "Open these pages in a test of this folder (doc_pages.PageTest.open_page) and run them.")

    def test_no_code_hides_behind_another_name(self):
        """A fence of another language would be run by no test."""
        for name in doc_pages.pages():
            text = doc_pages.text_of(name)
            self.assertContainsSubset(doc_pages.languages(text), _LANGUAGES, name)
            self.assertEqual(len(re.findall(r"^ *```", text, re.M)), 2 * len(doc_pages.languages(text)), name)

    def test_links_lead_somewhere(self):
        for name in doc_pages.pages():
            for target in links_of(name):
                self.assertTrue(target.exists(), f"{name}: {target}")

    def test_every_page_is_found_from_the_readme(self):
        site = doc_pages.ROOT / "mkdocs.yml"  # whose menu is a way to a page too
        menu = re.findall(r"[\w/.-]+\.md", site.read_text(encoding="utf-8")) if site.exists() else []
        seen, following = set(), ["README.md", *(f"docs/{name}" for name in menu)]
        while following:
            seen.add(name := following.pop())
            here = {path.relative_to(doc_pages.ROOT).as_posix() for path in links_of(name) if path.suffix == ".md"}
            following += here - seen
        self.assertEmpty(set(doc_pages.pages()) - seen, "Link these pages from a page that the README leads to.")

    def test_every_method_is_named_with_what_it_does(self):
        text = doc_pages.text_of("README.md")
        for name in (
            "rlal",
            "amc",
            "uniform",
            "knapsack",
            "random",
            "lit",
            "kd",
            "hint",
            "born_again",
            "scratch",
            "darc",
            "replaced",
            "n2n",
            "taylor",
        ):
            self.assertIn(f"| [`{name}`](docs/methods/{name}.md) |", text)


PAGE = """
Text.

```python
import math
x = 1
```

1. A list.

   ```python
   x += 1
   ```

```bash
pip install tfcompress && tfcompress methods  # what there is
.venv/bin/tfcompress compress model.keras \\
    --data "my photos"
nohup tfcompress report run > log 2>&1 &
```

```text
tfcompress methods
```
"""


class StepsTest(doc_pages.PageTest):
    def test_blocks_and_commands_are_found_in_their_order(self):
        steps = [(step.kind, step.code, step.line) for step in doc_pages.steps_of(PAGE)]
        self.assertEqual(
            steps,
            [
                ("python", "import math\nx = 1\n", 5),
                ("python", "x += 1\n", 12),
                ("command", "methods", 16),
                ("command", "compress model.keras --data 'my photos'", 16),
                ("command", "report run", 16),
            ],
        )

    def test_they_share_names_and_what_they_print(self):
        page = doc_pages.Page("page.md", PAGE.replace("x += 1", "x += 1; print(x)"), {})
        self.assertEqual(page.run(2)["x"], 2)
        self.assertEqual(page.printed, "2\n")
        self.assertIn("uniform", doc_pages.command("methods"))
        with self.assertRaisesRegex(AssertionError, "exit code 1"):
            doc_pages.command("inspect none.keras")

    def test_what_is_left_fails_the_test(self):
        with self.assertRaisesRegex(AssertionError, "not run"):
            self._all_was_run(doc_pages.Page("page.md", PAGE, {}))

    def test_pages_that_a_file_opens(self):
        self.assertEqual(
            opened('class A:\n    def test(self):\n        self.open_page("docs/a.md", x=1)'), {"docs/a.md"}
        )


if __name__ == "__main__":
    tf.test.main()
