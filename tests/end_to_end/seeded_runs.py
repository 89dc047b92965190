"""Short seeded runs of every method, written down: plans, costs, weights, metric values, histories.

    python seeded_runs.py record [NAME ...]    runs, and writes seeded_runs.json anew (with names, only these entries)
    python seeded_runs.py print [NAME ...]     runs, and prints the record as JSON

`test_seeded_runs.py` compares a new record with the file. The last digits of a float32 depend on the processor and on
the build of TensorFlow, so that the record says on what it was made: versions, vector instructions, caches, and the
digest of a training that has nothing of tfcompress in it.
"""

import hashlib
import json
import os
import pathlib
import platform
import re
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress import outcome
from tfcompress.methods import (
    AMC,
    KD,
    LIT,
    RLAL,
    AdversarialSettings,
    BornAgain,
    Hint,
    Random,
    Scratch,
    TaylorPruning,
    Uniform,
)
from tfcompress.methods.amc import AgentSettings as OfAMC
from tfcompress.methods.rlal import AgentSettings

RECORD = pathlib.Path(__file__).with_suffix(".json")
CLASSES = 4
DOMAINS = 2

_SHORT = {"batch_size": 32, "learning_rate": 0.05, "schedule": "step", "keep": "last"}
# As the record was made: students that labels alone teach, fresh ones, and the lesson of LIT's paper.
_CUT = {"teach": None, "recalibrate_student": 0, **_SHORT}
_TAUGHT = {"start": "fresh", "recalibrate_student": 0, "alpha": 0.95, "tau": 6.0, **_SHORT}
_SECTIONS = {"relative": False, **_TAUGHT}
_LIT = {"epochs": 1, "finetune_epochs": 1, "finetune_learning_rate": 0.02, **_SECTIONS}
_RANKED = {"criterion": "l1_norm", **_CUT}
_UNIFORM = {"epochs": 1, "milestones": (1,), "reference_epochs": 2, **_RANKED}


def plans_of(result):
    """The plans of a result, one after the other, each of what the one before left."""
    return list(result.trail)


def pictures(count, seed):
    """float32 `[count, 8, 8, 1]`, noise with one brighter quadrant, and int64 `[count]`, its number."""
    rng = np.random.default_rng(seed)
    x, y = rng.random((count, 8, 8, 1), dtype="float32"), np.arange(count) % CLASSES
    for image, label in zip(x, y, strict=True):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[top : top + 4, left : left + 4] += 0.5
    return x, y


def classifier():
    """Two sections of residual blocks, three of 6 channels and one of 8 at half the size; softmax."""

    def conv(x, filters, name, size=3, strides=1):
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(momentum=0.5, name=f"{name}_bn")(x)

    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.ReLU(name="stem_relu")(conv(inputs, 6, "stem"))
    for section, (count, width) in enumerate(((3, 6), (1, 8)), start=1):
        for block in range(1, count + 1):
            name, strides = f"section{section}_block{block}", 2 if section > 1 and block == 1 else 1
            y = layers.ReLU(name=f"{name}_relu1")(conv(x, width, f"{name}_conv1", 3, strides))
            y = conv(y, width, f"{name}_conv2")
            if x.shape[-1] != width:
                x = conv(x, width, f"{name}_shortcut", 1, strides)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(CLASSES, activation="softmax", name="head")(x)
    return keras.Model(inputs, outputs, name="tiny")


def generator(blocks=3, width=5):
    """StarGAN's shape in small: an image and a domain to an image of the same size, residual blocks between."""
    image, told = keras.Input((8, 8, 1), name="image"), keras.Input((DOMAINS,), name="domain")
    spread = keras.ops.tile(layers.Reshape((1, 1, DOMAINS), name="told")(told), (1, 8, 8, 1))
    x = layers.Concatenate(name="joined")([image, spread])
    x = layers.ReLU(name="stem_relu")(layers.Conv2D(width, 3, padding="same", name="stem")(x))
    for block in range(1, blocks + 1):
        y = layers.Conv2D(width, 3, padding="same", name=f"block{block}_conv1")(x)
        y = layers.ReLU(name=f"block{block}_relu")(layers.GroupNormalization(-1, name=f"block{block}_norm")(y))
        y = layers.Conv2D(width, 3, padding="same", name=f"block{block}_conv2")(y)
        x = layers.Add(name=f"block{block}_add")([x, y])
    x = layers.Conv2D(1, 3, padding="same", name="last")(x)
    return keras.Model([image, told], layers.Activation("tanh", name="last_tanh")(x), name="generator")


def discriminator():
    """From images to a map of 2x2 places and the logits of domains."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.LeakyReLU(0.1)(layers.Conv2D(7, 4, 4, name="down")(image))
    domains = layers.Dense(DOMAINS, name="domains")(layers.Flatten()(x))
    return keras.Model(image, [layers.Conv2D(1, 1, name="source")(x), domains], name="discriminator")


def drawn(model, seed):
    """The model with kernels of He et al. drawn by NumPy, so that no other generator of numbers matters."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if weight.name == "kernel":
            spread = np.sqrt(2 / np.prod(weight.shape[:-1]))
            weight.assign((spread * rng.normal(size=weight.shape)).astype("float32"))
    return model


def trained_classifier():
    """A classifier that plain Keras has trained for some epochs; much better than chance."""
    model = drawn(classifier(), seed=0)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*pictures(256, seed=1), batch_size=32, epochs=6, shuffle=False, verbose=0)
    return model


def methods():
    """For each run its method and the keywords of `compress`."""
    agent = AgentSettings(
        hidden=(8,), batch_size=8, updates_per_epoch=2, standardise_rewards=False, first_policy="middle"
    )
    rlal = RLAL(
        epochs=4,
        finetune_epochs=1,
        agent_epochs=(1, 2, 3),
        reference_epochs=4,
        milestones=(2, 3),
        episodes_per_epoch=3,
        joint=True,
        alignment=1e-2,
        scale_alignment=False,
        reward_images=40,
        recalibrate_batches=1,
        agent=agent,
        **_RANKED,
    )
    of_amc = OfAMC(hidden=(8,), batch_size=8)
    amc = AMC(episodes=12, exploring=3, epochs=1, reward_images=40, recalibrate_batches=0, agent=of_amc, **_RANKED)
    taylor = TaylorPruning(runs=2, filters=6, updates=3, update_rate=0.01, epochs=1, **_CUT)
    half, shallow = {"flops_budget": 0.5}, {"flops_budget": 0.7}
    steps = Uniform(steps=2, step_epochs=1, scope="global", **{**_UNIFORM, "criterion": "taylor"})
    critic = drawn(discriminator(), seed=3)
    translating = LIT(beta=0.0, discriminator=critic, adversarial=AdversarialSettings(steps=1), **_LIT)
    return {
        "rlal": (rlal, half),
        "amc": (amc, half),
        "uniform": (Uniform(**_UNIFORM), half),
        "uniform, global": (Uniform(scope="global", **{**_UNIFORM, "epochs": 0}), half),
        "uniform, steps": (steps, half),
        "taylor": (taylor, half),
        "random": (Random(epochs=1, tries=4, reward_images=40, recalibrate_batches=1, **_RANKED), half),
        "lit": (LIT(beta=0.75, **_LIT), shallow),
        "lit, beta 0": (LIT(beta=0.0, **_LIT), shallow),
        "lit, a sequence": (LIT(blocks=((2,), (1,)), **_LIT), {}),
        "lit, a generator": (translating, shallow),
        "kd": (KD(epochs=1, **_TAUGHT), shallow),
        "hint": (Hint(hint_epochs=75, epochs=1, **_SECTIONS), shallow),
        "born_again": (BornAgain(epochs=1, **_TAUGHT), {}),
        "scratch": (Scratch(epochs=2, **_SHORT), shallow),
    }


def composed(plans):
    """Plans one after the other as one: nodes that are gone, and for each group which of its channels stay."""
    removed, kept = set(), {}
    for plan in plans:
        for edit in plan:
            kind = type(edit).__name__
            if kind == "KeepChannels":
                before = kept.get(edit.group)
                kept[edit.group] = [int(i if before is None else before[i]) for i in edit.indices]
            elif kind == "RemoveLayers":
                removed |= set(edit.nodes)
            else:
                raise ValueError(f"Expected channels that stay and layers that go. Received: {edit!r}")
    return {"removed": sorted(removed), "kept": dict(sorted(kept.items()))}


def digest(arrays):
    """SHA-256 of shapes, dtypes and bytes."""
    known = hashlib.sha256()
    for array in arrays:
        known.update(f"{array.shape} {array.dtype};".encode() + np.ascontiguousarray(array).tobytes())
    return known.hexdigest()


def weights_record(model):
    """The digest of all weights, and for each its shape, sum and norm."""
    arrays = model.get_weights()
    exact = [np.asarray(array, "float64") for array in arrays]
    each = [[list(a.shape), float(f"{a.sum():.9g}"), float(f"{np.sqrt((a**2).sum()):.9g}")] for a in exact]
    return {"sha256": digest(arrays), "each": each}


def run(name, trained):
    """The record of one run."""
    method, budget = methods()[name]
    if name == "lit, a generator":
        x = pictures(72, seed=4)[0]
        model, data = drawn(generator(), seed=2), ((x, np.eye(DOMAINS, dtype="float32")[np.arange(72) % DOMAINS]), None)
        test = None
    else:
        model, data, test = trained, pictures(120, seed=5), pictures(60, seed=6)
    keras.utils.set_random_seed(0)
    result = tfcompress.compress(model, method, data, test_data=test, seed=11, verbose=0, **budget)
    measured = {
        side: {
            "macs": value.macs,
            "params": value.params,
            "bytes": value.bytes,
            "accuracy": value.accuracy,
            "validation_accuracy": value.validation_accuracy,
        }
        for side, value in (("before", result.before), ("after", result.after))
    }
    record = {
        "plan": composed(plans_of(result)),
        **measured,
        "weights": weights_record(result.model),
        "history": result.history,
    }
    return json.loads(json.dumps(record, default=float))


def made_on():
    """On what the last digits depend."""
    cpu = pathlib.Path("/proc/cpuinfo")
    text = cpu.read_text() if cpu.exists() else ""
    flags = re.search(r"^flags\s*:(.*)$", text, re.M)
    cache = re.search(r"^cache size\s*:(.*)$", text, re.M)
    vector = sorted(f for f in (flags[1].split() if flags else ()) if re.match(r"avx|fma|amx|sse4", f))
    return {
        "machine": platform.machine(),
        "vector": vector,
        "cache": cache[1].strip() if cache else "",
        "oneDNN": [os.environ.get(name, "") for name in ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA")],
        "versions": {module.__name__: module.__version__ for module in (tf, keras, np)},
    }


def record(names=()):
    """The runs of these names, or all."""
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    # Optimising the graphs takes longer than running them so few times.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    outcome.on_this_machine = lambda before, after, known: ({}, {}, "")  # latencies are no digits to compare
    keras.utils.set_random_seed(0)
    trained = trained_classifier()
    plain = {"accuracy": float(trained.evaluate(*pictures(60, seed=6), verbose=0)[1]), **weights_record(trained)}
    runs = {name: run(name, trained) for name in (names or methods())}
    return {"made_on": {**made_on(), "plain training": plain["sha256"]}, "plain training": plain, "runs": runs}


def as_text(value, indent=0):
    """JSON with one line for each entry of the first three levels."""
    if isinstance(value, dict) and indent < 3 and value:
        lines = [f"{' ' * (indent + 1)}{json.dumps(k)}: {as_text(v, indent + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    return json.dumps(value)


def main(command, *names):
    """Runs and writes or prints."""
    new = record(names)
    if command == "print":
        print(json.dumps(new))
        return
    if names and RECORD.exists():
        old = json.loads(RECORD.read_text(encoding="utf-8"))
        if old["made_on"] != new["made_on"]:
            raise SystemExit(f"Expected the machine of the record, {old['made_on']}. Received: {new['made_on']}")
        new["runs"] = {**old["runs"], **new["runs"]}
    RECORD.write_text(as_text(new) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
