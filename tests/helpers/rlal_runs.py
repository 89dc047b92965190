"""Three runs of RLAL in a process of their own, where operations are deterministic: `python rlal_runs.py FOLDER`.

Their run folders are FOLDER/first, FOLDER/again (the same seed) and FOLDER/other (another seed). FOLDER/seen.json says
what the process looked like before and after.
"""

import json
import os
import pathlib
import sys

import keras
import small_tasks
import tensorflow as tf

import tfcompress
from tfcompress.agents import AgentSettings

METHOD = tfcompress.methods.RLAL(
    epochs=4,
    finetune_epochs=1,
    episodes_per_epoch=3,
    batch_size=32,
    agent=AgentSettings(hidden=(32, 32), updates_per_epoch=2, batch_size=16),
)


def weights(model):
    return [keras.ops.convert_to_numpy(weight).tolist() for weight in model.weights]


def main(folder):
    tf.config.experimental.enable_op_determinism()
    environment, tf_keras = dict(os.environ), tf.keras
    model = small_tasks.trained_network()
    before, optimizer = weights(model), model.optimizer
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        tfcompress.compress(
            model,
            METHOD,
            small_tasks.pictures(128, seed=2),
            validation_data=small_tasks.pictures(64, seed=3),
            flops_budget=0.55,
            run_dir=pathlib.Path(folder) / name,
            seed=seed,
            verbose=2,
        )
    seen = {
        "environment_is_unchanged": dict(os.environ) == environment,
        "tf_keras_is_keras_3": tf.keras is tf_keras and tf.keras.Model is keras.Model,
        "keras_version": tf.keras.__version__,
        "model_is_unchanged": weights(model) == before and model.optimizer is optimizer and model.loss is not None,
    }
    (pathlib.Path(folder) / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
