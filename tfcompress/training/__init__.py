"""Training: losses, the fit loop, schedules, checkpoints and resume, progress."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.training.arrays import load_arrays, save_arrays
from tfcompress.training.callbacks import TrainingDiverged
from tfcompress.training.checkpoints import Checkpoint, Checkpoints
from tfcompress.training.fit import History, Phase, fit
from tfcompress.training.forecast import PhasePlan, StepTime, duration
from tfcompress.training.keeping import words_for_kept
from tfcompress.training.loss import loss_function
from tfcompress.training.objectives import Objective, Score, infer
from tfcompress.training.own_loss import OwnLoss
from tfcompress.training.penalized import PenalizedModel
from tfcompress.training.penalties import Penalty, WeightDecay
from tfcompress.training.progress import Progress
from tfcompress.training.run_folder import (
    DamagedFileError,
    NoRoomError,
    NoRunFolder,
    RunFolder,
    RunFolderError,
    open_run,
)
from tfcompress.training.schedules import Constant, Cosine, Schedule, StepDecay, scaled
from tfcompress.training.settings import Keep, Precision, Training, TrainingFields
from tfcompress.training.state import (
    Stateful,
    load_model_state,
    load_optimizer_state,
    model_state,
    optimizer_state,
    seed_layers,
)
from tfcompress.training.tensorboard import Scalars

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "Constant",
    "Cosine",
    "DamagedFileError",
    "History",
    "Keep",
    "NoRoomError",
    "NoRunFolder",
    "Objective",
    "OwnLoss",
    "PenalizedModel",
    "Penalty",
    "Phase",
    "PhasePlan",
    "Precision",
    "Progress",
    "RunFolder",
    "RunFolderError",
    "Scalars",
    "Schedule",
    "Score",
    "Stateful",
    "StepDecay",
    "StepTime",
    "Training",
    "TrainingDiverged",
    "TrainingFields",
    "WeightDecay",
    "duration",
    "fit",
    "infer",
    "load_arrays",
    "load_model_state",
    "load_optimizer_state",
    "loss_function",
    "model_state",
    "open_run",
    "optimizer_state",
    "save_arrays",
    "scaled",
    "seed_layers",
    "words_for_kept",
]
