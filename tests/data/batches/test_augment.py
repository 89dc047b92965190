import numpy as np
import tensorflow as tf

from tfcompress.data.batches.augment import augment_images, flip_and_crop


class Scripted:
    """Stands in for a random generator: gives back what it was told, in order."""

    def __init__(self, *answers):
        self.answers = [np.array(answer) for answer in answers]

    def integers(self, low, high, count):
        return self.answers.pop(0)

    def random(self, count):
        return self.answers.pop(0)


class FlipAndCropTest(tf.test.TestCase):
    def test_crops_and_mirrors_as_worked_out_by_hand(self):
        image = np.array([[1, 2], [3, 4]], "uint8")
        # Padded by one pixel:    0 0 0 0
        #                         0 1 2 0
        #                         0 3 4 0
        #                         0 0 0 0
        images = np.stack([image] * 4)[..., None]
        top, left, flip = [1, 0, 1, 1], [1, 0, 2, 2], [0.9, 0.9, 0.9, 0.1]
        result = flip_and_crop(images, Scripted(top, left, flip), padding=1)[..., 0]
        self.assertEqual(result.dtype, np.uint8)
        self.assertAllEqual(result[0], [[1, 2], [3, 4]])
        self.assertAllEqual(result[1], [[0, 0], [0, 1]])
        self.assertAllEqual(result[2], [[2, 0], [4, 0]])
        self.assertAllEqual(result[3], [[0, 2], [0, 4]])

    def test_every_offset_and_both_directions_occur(self):
        image = np.zeros((5, 5), "int64")
        image[2, 1], image[2, 3] = 1, 2  # the 1 is on the left unless the image was mirrored
        images = np.tile(image[None, :, :, None], (4000, 1, 1, 1))
        result = flip_and_crop(images, np.random.default_rng(0), padding=1)[..., 0]
        rows, columns = (result == 1).any(axis=2).argmax(axis=1), (result == 1).any(axis=1).argmax(axis=1)
        mirrored = (result == 2).any(axis=1).argmax(axis=1) < columns
        self.assertBetween(mirrored.mean(), 0.46, 0.54)
        for row in (1, 2, 3):
            for column in (0, 1, 2):
                share = ((rows == row) & (columns == column) & ~mirrored).mean()
                self.assertBetween(share, 0.5 / 9 - 0.02, 0.5 / 9 + 0.02)

    def test_repeats_with_the_seed(self):
        images = np.arange(4 * 8 * 8 * 3).reshape(4, 8, 8, 3)
        first, again = (flip_and_crop(images, np.random.default_rng(3)) for _ in range(2))
        self.assertAllEqual(first, again)
        self.assertNotAllEqual(first, flip_and_crop(images, np.random.default_rng(4)))


class AugmentImagesTest(tf.test.TestCase):
    def test_changes_images_alike_and_nothing_else(self):
        images = np.arange(4 * 6 * 6 * 1).reshape(4, 6, 6, 1)
        vectors = np.arange(8).reshape(4, 2)
        result = augment_images(flip_and_crop, {"left": images, "right": images + 1000, "extra": vectors}, [1, 2, 3])
        expected = flip_and_crop(images, np.random.default_rng([1, 2, 3]))
        self.assertAllEqual(result["left"], expected)
        self.assertAllEqual(result["right"], np.where(expected > 0, expected + 1000, result["right"]))
        self.assertIs(result["extra"], vectors)
        self.assertIsInstance(augment_images(flip_and_crop, (images, vectors), 0), tuple)


if __name__ == "__main__":
    tf.test.main()
