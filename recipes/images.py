"""What recipes do to images before anything else."""

import dataclasses

import numpy as np

__all__ = ["Pixels", "halved", "of_half_size"]


@dataclasses.dataclass(frozen=True)
class Pixels:
    """What networks read of images: numbers from -`mean` to 1 - `mean`, and as many black pixels around as `padding`.

    Attributes:
        mean: subtracted from the pixels in [0, 1].
        padding: pixels on each side.
    """

    mean: float = 0.0
    padding: int = 0

    def __call__(self, images):
        """uint8 images `[samples, height, width, channels]` as float32."""
        edges = (self.padding, self.padding)
        padded = np.pad(images, ((0, 0), edges, edges, (0, 0)))
        return padded.astype("float32") / np.float32(255) - np.float32(self.mean)


def halved(images):
    """Images uint8 `[samples, height, width, channels]` with each 2x2 pixels averaged; even height and width."""
    samples, height, width, channels = images.shape
    blocks = images.reshape(samples, height // 2, 2, width // 2, 2, channels)
    return ((blocks.sum(axis=(2, 4), dtype="uint16") + 2) // 4).astype("uint8")


def of_half_size(arrays):
    """`NamedArrays` of halved images."""
    train, test = ((halved(x), y) for x, y in (arrays.train, arrays.test))
    return dataclasses.replace(arrays, name=f"{arrays.name}, halved", train=train, test=test)
