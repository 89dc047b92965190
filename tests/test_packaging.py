"""What importing the package does to its user, and whether its files agree with one another."""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import tensorflow as tf

import tfcompress

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tfcompress"

# On Keras 2: only tfcompress.agents and tfcompress.tfmot_bridge may import them, by the means of `_keras_2`.
KERAS_2 = {"tf_agents", "tensorflow_probability", "tf_keras", "tensorflow_model_optimization"}
# Heavy, and needed by some calls only.
LAZY = KERAS_2 | {
    "tensorflow_datasets",
    "sklearn",
    "matplotlib",
    "ai_edge_litert",
    "gym",
    "torch",
    "pebble",
    "psutil",
    "ray",
}

# Taken from a process that has it: a notebook's kernel.
OF_THE_PROCESS = {"IPython"}

# Import names that are not the name of their distribution.
DISTRIBUTION = {"absl": "absl-py", "sklearn": "scikit-learn", "PIL": "pillow"}

# Names are loaded when they are first used, so all of them are used.
LOOK_AT_IMPORT = """
import json, os, sys
import keras
import tensorflow as tf
version, model = tf.keras.__version__, tf.keras.Model
environment, modules = dict(os.environ), set(sys.modules)
import tfcompress
for name in dir(tfcompress):
    getattr(tfcompress, name)
print(json.dumps({
    "new_modules": sorted({name.partition(".")[0] for name in set(sys.modules) - modules}),
    "environment_is_unchanged": dict(os.environ) == environment,
    "tf_keras_is_unchanged": tf.keras.__version__ == version and tf.keras.Model is model is keras.Model,
}))
"""


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_modules(path):
    """Top-level names of all modules that a file imports: by statement, `import_module("literal")`, `expect.extra`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.level == 0 else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "expect.extra":
            names = [node.args[1].value] if isinstance(node.args[1], ast.Constant) else []  # a name of a table there
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        else:
            continue
        yield from (name.partition(".")[0] for name in names)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class ImportTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        answer = subprocess.run(
            [sys.executable, "-c", LOOK_AT_IMPORT], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        )
        cls.seen = json.loads(answer.stdout.splitlines()[-1])

    def test_loads_tfcompress_and_nothing_heavy(self):
        self.assertIn("tfcompress", self.seen["new_modules"])
        self.assertEmpty(LAZY & set(self.seen["new_modules"]))

    def test_leaves_the_environment_as_it_was(self):
        self.assertTrue(self.seen["environment_is_unchanged"])

    def test_leaves_tf_keras_as_it_was(self):
        self.assertTrue(self.seen["tf_keras_is_unchanged"])

    def test_another_backend_of_keras_is_said_in_one_line(self):
        """Whether its library is installed or not."""
        for backend, line in (
            ("jax", "import tfcompress; tfcompress.compress"),
            ("torch", "from tfcompress.methods import RLAL"),
        ):
            environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
            answer = subprocess.run([sys.executable, "-c", line], env=environment, capture_output=True, text=True)
            last = answer.stderr.splitlines()[-1]
            self.assertRegex(last, f"^ImportError: Expected Keras with its TensorFlow .*Received: backend '{backend}'")


class SourcesTest(tf.test.TestCase):
    def test_every_folder_with_modules_is_a_package(self):
        # import-linter sees no module of a folder without __init__.py.
        folders = {path.parent for path in PACKAGE.rglob("*.py")}
        self.assertEmpty([str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()])

    def test_every_import_is_declared(self):
        extras = project()["optional-dependencies"]
        texts = [
            *project()["dependencies"],
            *(
                text
                for name in ("rl", "datasets", "plot", "ray", "tfmot", "quantizer", "onnx")
                for text in extras[name]
            ),
        ]
        declared = {normalized(re.match(r"[\w.-]+", text)[0]) for text in texts}
        undeclared = {
            f"{path.relative_to(ROOT)}: {name}"
            for path in PACKAGE.rglob("*.py")
            for name in imported_modules(path)
            if name not in sys.stdlib_module_names | {"tfcompress"} | OF_THE_PROCESS
            and normalized(DISTRIBUTION.get(name, name)) not in declared
        }
        self.assertEmpty(undeclared)

    def test_only_agents_and_the_bridge_import_what_runs_on_keras_2(self):
        # import-linter does not see importlib.import_module.
        importers = {
            path.relative_to(PACKAGE).parts[0]
            for path in PACKAGE.rglob("*.py")
            if KERAS_2.intersection(imported_modules(path))
        }
        self.assertEqual(importers, {"_keras_2.py", "agents", "tfmot_bridge"})

    def test_no_module_bears_the_name_of_a_public_function(self):
        # `import tfcompress.cost` would put the module in the place of the function.
        self.assertEmpty(set(tfcompress.__all__) & {path.stem for path in PACKAGE.iterdir()})


class DocumentsTest(tf.test.TestCase):
    def test_readme_has_the_two_commands(self):
        blocks = dict(re.findall(r"^<!-- ci: (\w+) -->\n```bash\n(.+?)\n```$", (ROOT / "README.md").read_text(), re.M))
        self.assertEqual(set(blocks), {"quickstart", "tests"})
        for name, end in {"quickstart": "recipes/quickstart.py", "tests": "-m pytest -n 2 --dist loadfile"}.items():
            extra = {"quickstart": "all", "tests": "test"}[name]
            self.assertStartsWith(
                blocks[name], f'python3.11 -m venv .venv && .venv/bin/pip install -q ".[{extra}]" && '
            )
            self.assertEndsWith(blocks[name], end)

    def test_there_is_one_version(self):
        latest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1]
        self.assertEqual({latest, project()["version"]}, {tfcompress.__version__})
