import os
import subprocess
import sys
import textwrap

import keras
import tensorflow as tf

from tfcompress._keras_2 import StandIn, importing_on_keras_2
from tfcompress.agents import _tf_agents


def run_in_fresh_process(code):
    """Runs code in a new interpreter and returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "Gym" not in process.stderr, process.stderr
    return process.stdout.split("\n")


class TfAgentsTest(tf.test.TestCase):
    def test_a_fresh_process(self):
        # `tf.keras` is touched for the first time after tf-agents was loaded: nothing may have decided for Keras 2.
        lines = run_in_fresh_process(
            """
            import os, random, sys, warnings
            import tfcompress.agents
            print([name for name in ("tf_agents", "tensorflow_probability", "tf_keras") if name in sys.modules])

            from tfcompress.agents import _tf_agents
            sys.modules["tf_agents"] = None  # as if it were not installed
            try:
                _tf_agents.load()
            except ImportError as error:
                print(error)
            del sys.modules["tf_agents"]

            environment, modules, python_random = dict(os.environ), dict(sys.modules), random.getstate()
            filters = list(warnings.filters)
            _tf_agents.load()
            print(dict(os.environ) == environment, random.getstate() == python_random, warnings.filters == filters)
            print([name for name, module in modules.items() if sys.modules.get(name) is not module])
            print([name for name in sys.modules if type(sys.modules[name]).__name__ == "StandIn"])

            import tensorflow as tf, keras, tf_keras
            # Determinism without a global seed makes any use of TensorFlow's global random state an error.
            tf.config.experimental.enable_op_determinism()
            settings = tfcompress.agents.SacSettings(hidden=(4, 4), batch_size=2)
            agent = tfcompress.agents.PruningAgent(state_size=2, epochs=2, settings=settings)
            agent.remember([[0.1, 0.2]], [0.5], 0.5, 0)
            agent.start_epoch(1)
            agent.act([0.1, 0.2])
            agent.learn()
            settings = tfcompress.agents.ReinforceSettings(units=2, layers=1, actor_critic=True)
            for kind in (tfcompress.agents.RemovalLearner, tfcompress.agents.ShrinkageLearner):
                learner = kind(("outputs",), 2, settings)
                learner.update(learner.rollouts([[0.1], [0.2]], 1), [1.0])
            print(dict(os.environ) == environment)
            print(tf.keras.Model is keras.Model, tf.compat.v2.keras.Model is keras.Model, keras.Model is tf_keras.Model)
            """
        )
        self.assertEqual(lines[0], "[]")
        self.assertIn("pip install", lines[1])
        self.assertIn("tf-agents", lines[1])
        self.assertIn("work without it", lines[1])
        self.assertEqual(lines[2:7], ["True True True", "[]", "[]", "True", "True True False"])

    def test_stand_ins_stay_inside_the_packages_that_were_imported_with_them(self):
        _tf_agents.load()
        holders = {
            name.split(".")[0]
            for name, module in list(sys.modules.items())
            for value in list(getattr(module, "__dict__", {}).values())
            if isinstance(value, StandIn)
        }
        self.assertEqual(holders - {"tensorflow_model_optimization"}, {"tensorflow_probability", "tf_agents"})

    def test_tf_agents_is_built_on_keras_2_and_the_user_has_keras_3(self):
        lib = _tf_agents.load()
        self.assertTrue(issubclass(lib.CriticNetwork, lib.keras.layers.Layer))
        self.assertFalse(issubclass(lib.CriticNetwork, keras.layers.Layer))
        self.assertIs(tf.keras.layers.Layer, keras.layers.Layer)

    def test_is_loaded_once(self):
        self.assertIs(_tf_agents.load(), _tf_agents.load())

    def test_a_stand_in_passes_on_reading_and_writing(self):
        real = type(sys)("real")
        real.kept, real.hidden = 1, 2
        stand_in = StandIn(real, hidden=3)
        stand_in.added = 4
        self.assertEqual((stand_in.kept, stand_in.hidden, real.hidden, real.added), (1, 3, 2, 4))
        self.assertIn("kept", dir(stand_in))

    def test_what_is_imported_may_fail_and_all_is_put_back(self):
        before = dict(sys.modules)
        with (
            self.assertRaisesRegex(RuntimeError, "halfway"),
            importing_on_keras_2(),
        ):
            os.environ["TF_USE_LEGACY_KERAS"] = "1"
            self.assertIsNot(sys.modules["tensorflow"], tf)
            raise RuntimeError("halfway")
        self.assertIs(sys.modules["tensorflow"], tf)
        self.assertNotIn("TF_USE_LEGACY_KERAS", os.environ)
        changed = [name for name, module in before.items() if sys.modules.get(name) is not module]
        self.assertEqual(changed, [])
