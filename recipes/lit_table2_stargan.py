"""Table 2 of LIT: StarGAN's generator with two residual blocks in place of six.

    python recipes/lit_table2_stargan.py --out runs/lit_table2_stargan

A StarGAN is trained (six blocks, StarGAN's own losses, Adam, five steps of the discriminator for each of the
generator's), then its generator is compressed with LIT's settings (beta = 0: 16 epochs of the section alone, 10 against
the discriminator, which goes on learning as in LIT's released code), and a generator of two blocks is trained from
scratch as the teacher was (their learning rate falls once, by ten, in the middle; StarGAN's falls linearly over the
second half, and its discriminator's with it). All are compared with generators that were never trained: reconstruction
error (mean squared difference to the image, translated to its own domain), Inception score and Frechet distance of
images translated to other domains.

Scores need a feature network: `--classifier FILE` is a Keras classifier of such images; without it a small one is
trained on the training images and their domains, and the table says so. Scores of different networks cannot be
compared with each other, nor with the paper's scores, which are those of Inception v3 on CelebA:

    model                                Inception score   FID
    teacher (18 layers)                  3.49              6.43
    LIT student (10 layers)              3.56              5.84
    trained from scratch (10 layers)     3.37              6.56
    randomly initialized (10 layers)     2.63              94.00
    randomly initialized (18 layers)     2.45              151.43

`--data cifar10` (the default) takes colour images with their classes as domains, `--data celeb_a` CelebA with five
attributes (128x128 pixels, through tensorflow-datasets; images may have several).

A short run on real images (500 of CIFAR-10, width 16; tensorflow 2.21.0, keras 3.15.1, two CPU cores, minutes), which
shows only that everything runs, not the quality of the method: a GAN of four epochs has learned little, and the small
classifier gets 30% right.

    python recipes/lit_table2_stargan.py --images 500 --width 16 --epochs 4 --section-epochs 40 --finetune-epochs 4

    model                    reconstruction   Inception score   Frechet distance
    teacher (6 blocks)       0.257            1.036             16.8
    LIT student (2)          0.331            1.059             11.8

(In a run of its own, with a classifier of its own: teacher 0.257, 1.048, 14.7; from scratch 0.629, 1.036, 14.3.) With
the discriminator fixed, ten epochs of fine-tuning took the student's reconstruction from 0.24 to 1.01: it had found
images that please that discriminator.
"""

import dataclasses

import keras
import numpy as np
import runner

import tfcompress
from tfcompress import zoo
from tfcompress.evaluation import features_and_probabilities, frechet_distance, inception_score
from tfcompress.methods import LIT, AdversarialSettings, Scratch
from tfcompress.network import Network

ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")


@dataclasses.dataclass(frozen=True)
class Domains:
    """Images and their domains, and networks of their size with fresh weights.

    Attributes:
        train, test: `(images in [-1, 1] [samples, h, w, 3], domains [samples, domains])`.
        generators: by their number of blocks.
        discriminators: the same; each is trained with the generator of the same number of blocks.
    """

    train: tuple
    test: tuple
    generators: dict
    discriminators: dict


def load(args):
    """Loads the data that networks are trained on and scored by."""
    if args.data == "celeb_a":
        # What the small classifier and the scores look at; networks are trained on all faces, as a stream.
        parts = [in_memory(celeb_a(split), args.celeb_a_scored) for split in ("train", "test")]
    else:
        data = tfcompress.data.load(args.data, augment=None, images=args.images).arrays
        parts = [as_domains(x, y, data.classes) for x, y in (data.train, data.test)]
    if args.smoke:
        parts = [(x[:64], d[:64]) for x, d in parts]
    keras.utils.set_random_seed(args.seed)
    generators, discriminators = {}, {}
    for blocks in (args.blocks, args.student_blocks):
        generators[blocks], discriminators[blocks] = networks(*parts[0], blocks, args.width)
    return Domains(*parts, generators, discriminators)


def as_domains(x, y, classes):
    """Converts uint8 images and class numbers to StarGAN's inputs; grey images become coloured ones."""
    x = np.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x
    return x.astype("float32") / 127.5 - 1, np.eye(classes, dtype="float32")[y]


def celeb_a(split):
    """Returns faces, cropped and scaled as by StarGAN's authors, with five attributes: a tf.data.Dataset."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def read(example):
        image = tf.image.resize_with_crop_or_pad(example["image"], 178, 178)
        image = tf.image.resize(image, (128, 128)) / 127.5 - 1
        return image, tf.stack([tf.cast(example["attributes"][name], tf.float32) for name in ATTRIBUTES])

    return tfds.load("celeb_a", split=split).map(read)


def in_memory(data, count):
    """Returns the first samples as arrays."""
    return tuple(map(np.stack, zip(*data.take(count).as_numpy_iterator(), strict=True)))


def given(data, args):
    """Returns the data for `compress`: images and their domains, and the same images as targets."""
    x_test, d_test = data.test
    test = ((x_test, d_test), x_test)
    if args.data != "celeb_a":
        x, d = data.train
        return {"data": ((x, d), x), "test_data": test}
    faces = celeb_a("train").map(lambda image, domains: ((image, domains), image))
    faces = faces if args.images is None else faces.take(args.images)
    return {"data": faces.shuffle(1024, seed=args.seed).batch(16), "test_data": test}


def networks(images, domains, blocks, width):
    """Returns a generator and its discriminator."""
    shape, count = images.shape[1:], domains.shape[1]
    generator = zoo.stargan_generator(shape, domains=count, blocks=blocks, width=width)
    halvings = int(np.log2(min(shape[:2])))
    return generator, zoo.stargan_discriminator(shape, domains=count, width=width, layers=min(6, halvings))


def adversarial(args):
    """Returns the settings for training generators against discriminators."""
    return AdversarialSettings(steps=1 if args.smoke else 5, exclusive_domains=args.data != "celeb_a")


def from_scratch(blocks):
    """Returns a training of a generator with this number of blocks, as for StarGAN's."""

    def method(data, args):
        return Scratch(
            optimizer="adam",
            batch_size=16,
            weight_decay=0.0,
            learning_rate=1e-4,
            epochs=args.epochs,
            keep="last",  # as in the paper
            schedule="step",
            milestones=(args.epochs // 2,),
            reference_epochs=max(args.epochs, 1),
            discriminator=data.discriminators[blocks],
            adversarial=adversarial(args),
            blocks=(blocks,),
        )

    return method


def lit(data, args):
    """Returns LIT's student, against the discriminator that the teacher was trained with."""
    return LIT.as_published(
        "stargan",
        epochs=args.section_epochs,
        finetune_epochs=args.finetune_epochs,
        blocks=(args.student_blocks,),
        discriminator=data.discriminators[args.blocks],
        adversarial=adversarial(args),
    )


def runs(args):
    """Returns the teacher, its student, and the same network from scratch."""
    teacher = runner.Run("teacher", from_scratch(args.blocks), args.blocks, "fresh")
    made = [teacher, runner.Run("LIT student", lit, args.student_blocks, teacher)]
    if not args.smoke:  # it is trained as the teacher was
        made.append(runner.Run("from scratch", from_scratch(args.student_blocks), args.student_blocks, "fresh"))
    return made


def classifier_for(data, args):
    """Returns the feature network, and its name in the table."""
    if args.classifier:
        return keras.saving.load_model(args.classifier), f"the classifier {args.classifier}"
    (x, d), (x_test, d_test) = data.train, data.test
    model = keras.Sequential([keras.Input(x.shape[1:])])
    for filters in (32, 64, 128):
        model.add(keras.layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(keras.layers.MaxPooling2D())
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(32, activation="relu"))
    model.add(keras.layers.Dense(d.shape[1], activation="softmax"))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, d / d.sum(axis=1, keepdims=True).clip(1), batch_size=64, epochs=args.classifier_epochs, verbose=0)
    right = (model.predict(x_test, verbose=0).argmax(1) == d_test.argmax(1)).mean()
    return model, f"a small classifier trained here, 32 features, test accuracy {right:.2f}"


def scores(generator, classifier, test, args):
    """Returns reconstruction error, Inception score and Frechet distance."""
    x, d = test
    own = generator.predict((x, d), batch_size=32, verbose=0)
    others = d[np.random.default_rng(args.seed).permutation(len(d))]
    translated = generator.predict((x, others), batch_size=32, verbose=0)
    features, probabilities = features_and_probabilities(classifier, translated)
    real, _ = features_and_probabilities(classifier, x)
    return {
        "reconstruction": float(np.mean(np.square(own - x))),
        "inception score": inception_score(probabilities),
        "frechet distance": frechet_distance(real, features),
        "parameters": generator.count_params(),
    }


def scored(results, data, args):
    """Prints scores of all trained generators, and of untrained ones."""
    models = {(run.name, run.number): of_run[0].model for run, of_run in results.items()}
    models |= {("randomly initialized", blocks): model for blocks, model in sorted(data.generators.items())}
    classifier, name = classifier_for(data, args)
    print(f"Inception score and Frechet distance by {name}")
    network, rows = Network(classifier), []
    for (label, blocks), model in models.items():
        row = {"name": label, "number": blocks, **scores(model, network, data.test, args)}
        runner.say(row)
        rows.append(tuple(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    runner.show([("", "blocks", *list(row)[2:]), *rows])


RECIPE = {
    "flags": {
        "data": "cifar10",
        "images": None,
        "celeb_a_scored": {"default": 2000, "help": "number of faces of each split to score"},
        "blocks": {"default": 6, "help": "residual blocks of the teacher"},
        "student_blocks": 2,
        "width": 64,
        "epochs": {"default": 20, "help": "epochs of the teacher, and from scratch"},
        "section_epochs": 16,
        "finetune_epochs": 10,
        "classifier": {"default": None, "help": "a .keras file with the feature network"},
        "classifier_epochs": 10,
        "seed": 0,
        "out": None,
    },
    "smoke": {
        "data": "digits",
        "images": 48,
        "blocks": 3,
        "width": 4,
        "epochs": 1,
        "section_epochs": 1,
        "finetune_epochs": 1,
        "classifier_epochs": 1,
    },
    "load": load,
    "model": lambda name, data, args: data.generators[args.blocks],
    "runs": runs,
    "given": given,
    "number": "blocks",
    "after": scored,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
