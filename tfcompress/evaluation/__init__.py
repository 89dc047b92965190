"""Evaluation: loss and metric of a model, rewards of plans, the level of guessing, scalings of images, scores of
generated images, and checks of objectives and labels."""

from tfcompress.evaluation.chance import guessing
from tfcompress.evaluation.generated import features_and_probabilities, frechet_distance, inception_score
from tfcompress.evaluation.label_forms import expected_labels
from tfcompress.evaluation.measuring import Evaluator, evaluate, meter
from tfcompress.evaluation.probing import check_objective
from tfcompress.evaluation.rewards import Reward, calibration_batches
from tfcompress.evaluation.scalings import measured_scaling

__all__ = [
    "Evaluator",
    "Reward",
    "calibration_batches",
    "check_objective",
    "evaluate",
    "expected_labels",
    "features_and_probabilities",
    "frechet_distance",
    "guessing",
    "inception_score",
    "measured_scaling",
    "meter",
]
