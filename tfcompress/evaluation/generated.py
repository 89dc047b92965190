"""Inception score and Frechet distance: the quality of generated images, by any feature network."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.network import Network

__all__ = ["features_and_probabilities", "frechet_distance", "inception_score"]

_Array = npt.NDArray[np.floating]


def inception_score(probabilities: npt.ArrayLike) -> float:
    """Returns `exp(mean of KL(p(y|x) || p(y)))`: from 1 (all alike) to the number of classes (each sure, all classes).

    Salimans et al. (2016), "Improved techniques for training GANs", where the classifier is Inception v3.

    Args:
        probabilities: output of a classifier for generated images, `[images, classes]`, each row summing to 1.

    Raises:
        ValueError: anything else.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or not len(p) or (p < 0).any() or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"Expected probabilities [images, classes] that sum to 1. Received: shape {p.shape}")
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(p.mean(axis=0))), 0.0)
    return float(np.exp(terms.sum(axis=1).mean()))


def frechet_distance(real: npt.ArrayLike, generated: npt.ArrayLike) -> float:
    """Returns `|mean - mean'|^2 + trace(C + C' - 2 (C C')^(1/2))` of two feature sets taken as Gaussian; 0 if equal.

    Heusel et al. (2017), "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", where the
    features are those of Inception v3 (FID). It needs more samples than features.

    Args:
        real, generated: features `[images, features]`.

    Raises:
        ValueError: other shapes, or fewer than two images.
    """
    a, b = (np.asarray(features, np.float64) for features in (real, generated))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"Expected features [images, features], two images or more. Received: shapes {a.shape} and {b.shape}"
        )
    first, second = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # The trace of the root of a product of two covariances is the sum of the roots of its eigenvalues, which are not
    # negative but for rounding.
    roots = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None))
    difference = a.mean(axis=0) - b.mean(axis=0)
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2 * roots.sum())


def features_and_probabilities(
    classifier: keras.Model | Network, images: npt.ArrayLike, batch_size: int = 128
) -> tuple[_Array, _Array]:
    """Returns the input of a classifier's last layer with weights, as `[images, features]`, and its probabilities.

    Args:
        classifier: returns probabilities, or logits, `[batch, classes]`; a `Network` of it is not read again.
        images: its inputs.
        batch_size: images in a batch.
    """
    network = Network.of(classifier)
    graph, model = network.graph, network.model
    last = [
        node for node in graph.nodes.values() if isinstance(node.operation, keras.Layer) and node.operation.weights
    ][-1]
    both = keras.Model(model.inputs, [graph.tensors[last.inputs[0]], *model.outputs])
    features, outputs = both.predict(np.asarray(images), batch_size=batch_size, verbose=0)
    if (outputs < 0).any() or not np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        outputs = keras.ops.convert_to_numpy(keras.ops.softmax(outputs, axis=-1))
    return features.reshape(len(features), -1), outputs
