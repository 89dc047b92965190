"""Three runs of RLAL in a process of their own, where operations are deterministic: `python rlal_runs.py FOLDER`.

Their run folders are FOLDER/first, FOLDER/again (the same seed) and FOLDER/other (another seed). The first compresses
FOLDER/model.keras, the others the same model in memory. FOLDER/seen.json says what the process looked like before and
after.
"""

import json
import os
import pathlib
import sys

import keras
import small_tasks
import tensorflow as tf

import tfcompress
from tfcompress.methods.rlal import AgentSettings

METHOD = tfcompress.methods.RLAL(
    epochs=4,
    finetune_epochs=1,
    joint=True,
    teach=None,
    schedule="step",
    episodes_per_epoch=3,
    batch_size=32,
    agent=AgentSettings(hidden=(32, 32), updates_per_epoch=2, batch_size=16),
)


def compress(model, run_dir, seed, **settings):
    return tfcompress.compress(
        model,
        METHOD,
        small_tasks.pictures(128, seed=2),
        validation_data=small_tasks.pictures(64, seed=3),
        flops_budget=0.55,
        run_dir=run_dir,
        seed=seed,
        **settings,
    )


def weights(model):
    return [keras.ops.convert_to_numpy(weight).tolist() for weight in model.weights]


def main(folder):
    tf.config.experimental.enable_op_determinism()
    environment, tf_keras = dict(os.environ), tf.keras
    model = small_tasks.trained_network()
    before, optimizer = weights(model), model.optimizer
    model.save(folder / "model.keras")
    compress(folder / "model.keras", folder / "first", seed=0, verbose=2)
    compress(model, folder / "again", seed=0, verbose=0)
    compress(model, folder / "other", seed=1, verbose=0)
    seen = {
        "environment_is_unchanged": dict(os.environ) == environment,
        "tf_keras_is_keras_3": tf.keras is tf_keras and tf.keras.Model is keras.Model,
        "keras_version": tf.keras.__version__,
        "model_is_unchanged": weights(model) == before and model.optimizer is optimizer and model.loss is not None,
    }
    (folder / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
