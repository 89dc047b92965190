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
compared, nor with the paper's, which are those of Inception v3 on CelebA:

    model                                Inception score   FID
    teacher (18 layers)                  3.49              6.43
    LIT student (10 layers)              3.56              5.84
    trained from scratch (10 layers)     3.37              6.56
    randomly initialized (10 layers)     2.63              94.00
    randomly initialized (18 layers)     2.45              151.43

`--data cifar10` (the default) takes colour images with their classes as domains, `--data celeb_a` CelebA with five
attributes (128x128 pixels, through tensorflow-datasets; images may have several).

A short run on real images (500 of CIFAR-10, width 16; tensorflow 2.21.0, keras 3.15.1, two CPU cores, minutes), which
shows that everything runs, not what the method is worth: a GAN of four epochs has learned little, and the small
classifier gets 30% right.

    python recipes/lit_table2_stargan.py --images 500 --width 16 --epochs 4 --section-epochs 40 --finetune-epochs 4

    model                    reconstruction   Inception score   Frechet distance
    teacher (6 blocks)       0.257            1.036             16.8
    LIT student (2)          0.331            1.059             11.8

(In a run of its own, with a classifier of its own: teacher 0.257, 1.048, 14.7; from scratch 0.629, 1.036, 14.3.) With
the discriminator fixed, ten epochs of fine-tuning took the student's reconstruction from 0.24 to 1.01: it had found
images that please that discriminator.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import tfcompress
from tfcompress import zoo
from tfcompress.methods import LIT, AdversarialSettings, Scratch
from tfcompress.report import features_and_probabilities, frechet_distance, inception_score

ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")


def images_and_domains(args):
    """`(images in [-1, 1] [samples, h, w, 3], domains [samples, domains])` for training and for test."""
    if args.data == "celeb_a":
        # What the small classifier and the scores look at; networks are trained on all faces, as a stream.
        return [in_memory(celeb_a(split), args.celeb_a_scored) for split in ("train", "test")]
    data = tfcompress.data.load(args.data, augment=None, images=args.images).arrays
    return [as_domains(x, y, data.classes) for x, y in (data.train, data.test)]


def as_domains(x, y, classes):
    """uint8 images and class numbers as StarGAN reads them; grey images become coloured ones."""
    x = np.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x
    return x.astype("float32") / 127.5 - 1, np.eye(classes, dtype="float32")[y]


def celeb_a(split):
    """Faces, cropped and scaled as by StarGAN's authors, and five of their attributes: a tf.data.Dataset."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def read(example):
        image = tf.image.resize_with_crop_or_pad(example["image"], 178, 178)
        image = tf.image.resize(image, (128, 128)) / 127.5 - 1
        return image, tf.stack([tf.cast(example["attributes"][name], tf.float32) for name in ATTRIBUTES])

    return tfds.load("celeb_a", split=split).map(read)


def in_memory(data, count):
    """The first samples as arrays."""
    return tuple(map(np.stack, zip(*data.take(count).as_numpy_iterator(), strict=True)))


def training_data(data, args):
    """What `compress` trains on: images and their domains, and the images again, that reconstruction is measured by."""
    if args.data != "celeb_a":
        x, d = data[0]
        return (x, d), x
    faces = celeb_a("train").map(lambda image, domains: ((image, domains), image))
    return (faces if args.images is None else faces.take(args.images)).shuffle(1024, seed=args.seed).batch(16)


def networks(images, domains, args):
    """A generator of six blocks and its discriminator."""
    shape, count = images.shape[1:], domains.shape[1]
    generator = zoo.stargan_generator(shape, domains=count, blocks=args.blocks, width=args.width)
    halvings = int(np.log2(min(shape[:2])))
    return generator, zoo.stargan_discriminator(shape, domains=count, width=args.width, layers=min(6, halvings))


def train(generator, method, data, args, name):
    """Compresses, or trains anew, as the method says."""
    x_test, d_test = data[1]
    run_dir = pathlib.Path(args.out) / name if args.out else None
    result = tfcompress.compress(
        generator,
        method,
        training_data(data, args),
        test_data=((x_test, d_test), x_test),
        run_dir=run_dir,
        seed=args.seed,
        verbose=2,
    )
    result.summary()
    return result.model


def classifier_for(data, args):
    """The feature network, and its name in the table."""
    if args.classifier:
        return keras.saving.load_model(args.classifier), f"the classifier {args.classifier}"
    (x, d), (x_test, d_test) = data
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
    """Reconstruction error, Inception score, Frechet distance."""
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--images", type=int, default=None, help="use only the first so many training images")
    parser.add_argument("--celeb-a-scored", type=int, default=2000, help="faces of each split that scores are taken of")
    parser.add_argument("--blocks", type=int, default=6, help="residual blocks of the teacher")
    parser.add_argument("--student-blocks", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20, help="of the teacher, and from scratch")
    parser.add_argument("--section-epochs", type=int, default=16)
    parser.add_argument("--finetune-epochs", type=int, default=10)
    parser.add_argument("--classifier", default=None, help="a .keras file: the feature network")
    parser.add_argument("--classifier-epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=None, help="run folders; a killed run goes on where it stopped")
    parser.add_argument("--smoke", action="store_true", help="tiny networks, 48 digits, one epoch each")
    args = parser.parse_args()
    if args.smoke:
        args.data, args.images, args.blocks, args.width = "digits", 48, 3, 4
        args.epochs = args.section_epochs = args.finetune_epochs = args.classifier_epochs = 1
    data = images_and_domains(args)
    data = [(x[:64], d[:64]) if args.smoke else (x, d) for x, d in data]
    keras.utils.set_random_seed(args.seed)
    generator, discriminator = networks(*data[0], args)
    exclusive = args.data != "celeb_a"
    gan = {"optimizer": "adam", "batch_size": 16, "weight_decay": 0.0, "learning_rate": 1e-4, "epochs": args.epochs}
    gan["keep"] = "last"  # as in the paper
    gan |= {"milestones": (args.epochs // 2,), "reference_epochs": max(args.epochs, 1), "discriminator": discriminator}
    gan |= {"adversarial": AdversarialSettings(steps=1 if args.smoke else 5, exclusive_domains=exclusive)}
    untrained = {args.blocks: generator}
    untrained[args.student_blocks], discriminator_of_scratch = networks(
        *data[0], argparse.Namespace(**{**vars(args), "blocks": args.student_blocks})
    )
    teacher = train(generator, Scratch(**gan, blocks=(args.blocks,)), data, args, "teacher")
    lit = LIT.as_published(
        "stargan",
        epochs=args.section_epochs,
        finetune_epochs=args.finetune_epochs,
        blocks=(args.student_blocks,),
        discriminator=discriminator,
        adversarial=gan["adversarial"],
    )
    models = {f"teacher ({args.blocks} blocks)": teacher}
    models[f"LIT student ({args.student_blocks})"] = train(teacher, lit, data, args, "lit")
    if not args.smoke:  # it is trained as the teacher was
        scratch = Scratch(**{**gan, "discriminator": discriminator_of_scratch}, blocks=(args.student_blocks,))
        models[f"from scratch ({args.student_blocks})"] = train(generator, scratch, data, args, "scratch")
    models |= {f"randomly initialized ({blocks})": model for blocks, model in sorted(untrained.items())}
    classifier, name = classifier_for(data, args)
    print(f"Inception score and Frechet distance by {name}")
    for label, model in models.items():
        print(json.dumps({"model": label, **scores(model, classifier, data[1], args)}), flush=True)


if __name__ == "__main__":
    main()
