"""Methods by name: built-in ones, a user's own, and those of installed packages."""

import dataclasses
import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from unittest import mock

import tensorflow as tf

from tfcompress import methods
from tfcompress.methods import (
    AMC,
    RLAL,
    Method,
    Random,
    Uniform,
    method_by_name,
    register_method,
    registered_methods,
    registry,
)


@dataclasses.dataclass(frozen=True)
class Ours(Method):
    width: int = 3


class RegistryTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.dict(registry._METHODS))  # puts back what was there

    def entry_points(self, **values):
        """Pretends that packages with these entry points are installed."""
        found = [EntryPoint(name, value, "tfcompress.methods") for name, value in values.items()]
        module = ModuleType("an_installed_package")
        module.Theirs = dataclasses.make_dataclass("Theirs", [("depth", int, 2)], bases=(Method,), frozen=True)
        self.enterContext(mock.patch.dict("sys.modules", an_installed_package=module))
        self.enterContext(
            mock.patch.object(registry, "entry_points", lambda group: found if group == "tfcompress.methods" else [])
        )
        return module

    def test_the_built_in_ones(self):
        self.assertContainsSubset(
            {"amc": AMC, "rlal": RLAL, "random": Random, "uniform": Uniform}.items(), registered_methods().items()
        )
        self.assertEqual(method_by_name("rlal"), RLAL())
        self.assertEqual(RLAL.name, "rlal")

    def test_all_built_in_ones_are_in_the_list_of_what_is_loaded_when_asked_for(self):
        registered = {}
        for _, name, _ in pkgutil.walk_packages(methods.__path__, "tfcompress.methods."):
            for cls in vars(importlib.import_module(name)).values():
                if isinstance(cls, type) and issubclass(cls, Method) and cls.__module__ == name and "name" in vars(cls):
                    registered[cls.name] = f"{name}:{cls.__qualname__}"
        registered.pop(Method.name, None)
        self.assertEqual(registry._BUILT_IN, registered)

    def test_a_method_is_loaded_when_it_is_asked_for(self):
        code = """
import sys, tfcompress
from tfcompress import methods
tfcompress.compress
loaded = lambda: sorted({name.split(".")[2] for name in sys.modules if name.startswith("tfcompress.methods.")})
print(loaded())
methods.method_by_name("uniform")
print(loaded())
print(methods.rlal.AgentSettings.__name__, methods.Teaching.__name__, len(methods.registered_methods()))
"""
        answer = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
        before, after, names = answer.stdout.splitlines()[-3:]
        self.assertEqual(before, "['base', 'order', 'phases', 'presets', 'registry', 'settings', 'trained']")
        self.assertEqual(
            after,
            "['base', 'channel_pruner', 'order', 'phases', 'presets', 'registry', 'settings', 'trained', 'uniform']",
        )
        self.assertEqual(names, f"AgentSettings Teaching {len(registry._BUILT_IN)}")

    def test_a_name_of_the_package_that_does_not_exist(self):
        with self.assertRaisesRegex(AttributeError, "module 'tfcompress.methods' has no attribute 'RLOL'"):
            methods.RLOL  # noqa: B018

    def test_an_instance_is_itself(self):
        method = RLAL(epochs=8)
        self.assertIs(method_by_name(method), method)

    def test_a_registered_class_is_known_by_its_name(self):
        self.assertIs(register_method("ours")(Ours), Ours)
        self.assertEqual(Ours.name, "ours")
        self.assertEqual(method_by_name("ours"), Ours(width=3))
        self.assertEqual(Ours(width=5).settings(), {"width": 5})

    def test_a_name_that_is_taken_is_refused(self):
        with self.assertRaisesRegex(
            ValueError,
            "Expected a new method name. Received: 'rlal', which is .*RLAL. Register the class under another",
        ):
            register_method("rlal")(Ours)
        self.assertIs(registered_methods()["rlal"], RLAL)

    def test_a_class_of_the_same_name_from_elsewhere_does_not_take_its_place(self):
        other = dataclasses.make_dataclass("RLAL", [("epochs", int, 1)], bases=(Method,), frozen=True)
        with self.assertRaisesRegex(ValueError, "Expected a new method name. Received: 'rlal'"):
            register_method("rlal")(other)
        self.assertIs(registered_methods()["rlal"], RLAL)

    def test_a_module_that_is_loaded_again_is_no_conflict(self):
        register_method("ours")(Ours)
        again = dataclasses.make_dataclass("Ours", [("width", int, 4)], bases=(Method,), frozen=True)
        again.__module__ = Ours.__module__
        register_method("ours")(again)
        self.assertEqual(method_by_name("ours").width, 4)

    def test_an_unknown_name_lists_the_known_ones(self):
        register_method("ours")(Ours)
        with self.assertRaisesRegex(
            ValueError,
            r"one of \[.*'ours', 'qat', 'random', 'replaced', 'rlal', 'scratch', 'taylor', 'uniform'\]\. Received: method='rlol'",
        ):
            method_by_name("rlol")

    def test_a_class_is_not_an_instance(self):
        with self.assertRaisesRegex(TypeError, r"Received: method=<class .*Write its parentheses: method=RLAL\(\)"):
            method_by_name(RLAL)
        with self.assertRaisesRegex(TypeError, r"Write its parentheses: method=Uniform\(\)"):
            method_by_name(Uniform)

    def test_what_is_no_method(self):
        for value in (None, 3, dict, object()):
            with self.assertRaisesRegex(TypeError, "Expected `method` to be a name or a Method. Received: method="):
                method_by_name(value)

    def test_methods_of_installed_packages(self):
        module = self.entry_points(theirs="an_installed_package:Theirs")
        self.assertIn("theirs", registered_methods())
        self.assertEqual(method_by_name("theirs"), module.Theirs(depth=2))
        self.assertEqual(module.Theirs.name, "theirs")

    def test_an_installed_package_does_not_replace_a_built_in_method(self):
        self.entry_points(uniform="an_installed_package:Theirs")
        self.assertIs(registered_methods()["uniform"], Uniform)
