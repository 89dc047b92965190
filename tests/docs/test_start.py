"""The first page of the site: its code and its commands run as they stand there, on a model and a folder like its reader's."""

import pathlib

import doc_pages
import keras
import numpy as np
import tensorflow as tf
from converted_once import converted_once
from keras import layers

_CLASSES = ("dark", "light")


def make_photos(folder, count, rng):
    for number, name in enumerate(_CLASSES):
        (folder / name).mkdir(parents=True)
        for image in range(count):
            pixels = rng.integers(0, 100, (20, 24, 3)) + 150 * number
            keras.utils.save_img(folder / name / f"{image}.png", pixels, scale=False)


def transfer_model():
    """A frozen backbone, nested in a Sequential as in a tutorial of transfer learning; it tells dark from light."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.BatchNormalization(momentum=0.999)(layers.Conv2D(8, 3, 2)(inputs))
    x = layers.BatchNormalization(momentum=0.999)(layers.Conv2D(8, 3)(layers.ReLU()(x)))
    backbone = keras.Model(inputs, layers.ReLU()(x), name="backbone", trainable=False)
    head = layers.Dense(2, activation="softmax")
    model = keras.Sequential([layers.Rescaling(1 / 127.5, -1), backbone, layers.GlobalAveragePooling2D(), head])
    model.build((None, 16, 16, 3))
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class StartTest(doc_pages.PageTest):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        make_photos(pathlib.Path("photos/train"), 24, rng)
        make_photos(pathlib.Path("photos/validation"), 24, rng)
        model = transfer_model()
        model.fit(
            keras.utils.image_dataset_from_directory("photos/train", image_size=(16, 16), verbose=0),
            epochs=12,
            verbose=0,
        )
        model.save("model.keras")

    def test_page(self):
        self.enterContext(converted_once())  # the command exports the same model once more
        page = self.open_page("docs/index.md")
        made = page.run(1)
        result, report = made["result"], made["report"]
        self.assertLessEqual(result.after.macs, result.before.macs // 2)
        self.assertGreater(result.after.validation_accuracy, 0.9)
        self.assertIn("backbone", [layer.name for layer in result.model.layers])
        self.assertIn("scaling: preprocess=None ([0, 255])", " ".join(result.notes))
        self.assertEqual(
            [(file.quantize, file.suspect) for file in report.files], [("float32", False), ("int8", False)]
        )
        self.assertIn("model_int8.tflite", page.printed)
        self.assertIn("</html>", pathlib.Path("report.html").read_text())
        # The same run: the folder refuses another one, and this one is finished.
        epochs = len(result.history["recover"]["loss"])
        page.run(1)
        self.assertNotIn(f"epoch {epochs}/{epochs}", page.printed)
        page.run(2)
        self.assertTrue(pathlib.Path("runs/half/export/model_int8.tflite").is_file())
        self.assertTrue(pathlib.Path("runs/half/report.html").is_file())


if __name__ == "__main__":
    tf.test.main()
