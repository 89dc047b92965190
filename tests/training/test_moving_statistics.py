"""Statistics of BatchNormalization keep up with a training of few steps."""

import keras
import numpy as np
import pytest
import small_tasks
from keras import layers

from tfcompress.methods import Training, phases
from tfcompress.training.moving_statistics import keeping_up, momentum_of_short_epochs, words_for_momentum


@pytest.mark.parametrize(
    ("momentum", "steps", "left"),
    [
        # 0.999 ** 11 = 0.989 and 0.99 ** 11 = 0.895 would be left; 0.99 ** 100 = 0.366, 0.9 ** 11 = 0.314 are left.
        (0.999, 11, 0.1),
        (0.99, 11, 0.1),
        (0.99, 100, 0.99**100),
        (0.9, 11, 0.9**11),
        (0.5, 1, 0.5),
    ],
)
def test_an_epoch_leaves_less_than_half_of_the_old_statistics(momentum, steps, left):
    assert momentum_of_short_epochs(momentum, steps) ** steps == pytest.approx(left)


def test_only_layers_that_are_trained_change_and_only_inside():
    inputs = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(momentum=0.999, name="inside")])
    x = layers.BatchNormalization(momentum=0.5, name="quick")(inner(inputs))
    x = layers.BatchNormalization(momentum=0.99, name="frozen", trainable=False)(x)
    model = keras.Model(inputs, x)
    norms = [inner.get_layer("inside"), model.get_layer("quick"), model.get_layer("frozen")]
    with pytest.raises(ZeroDivisionError), keeping_up(model, 2) as changed:
        assert changed == {"inside": (0.999, pytest.approx(0.1**0.5))}
        assert [norm.momentum for norm in norms] == [pytest.approx(0.1**0.5), 0.5, 0.99]
        words = words_for_momentum(changed, 2)
        assert words.startswith("BatchNormalization of 1 layers is trained with momentum 0.316 in place of 0.999")
        assert "100% of the old statistics after an epoch of 2 steps" in words
        raise ZeroDivisionError
    assert [norm.momentum for norm in norms] == [0.999, 0.5, 0.99]
    with keeping_up(model, None) as changed:  # a stream of unknown length
        assert changed == {}


@pytest.mark.parametrize("teach", [False, True])
def test_a_student_is_measured_with_the_statistics_of_its_own_training(teach):
    """An epoch of a few steps with a momentum of 0.99 would have left nearly all of the wrong ones."""
    model = small_tasks.residual_network(activation="softmax")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    task = small_tasks.task_for(model, accuracy=0.9)
    student = keras.models.clone_model(model)
    student.set_weights(model.get_weights())
    norm = student.get_layer("stem_bn")
    x = np.concatenate([batch[0] for batch in task.splits.train.batches(16)])
    true = keras.ops.convert_to_numpy(keras.ops.mean(student.get_layer("stem")(x), axis=(0, 1, 2)))
    norm.moving_mean.assign(np.zeros_like(true))
    training = Training(epochs=1, batch_size=16, learning_rate=1e-9, weight_decay=0.0)
    assert 0.99 ** task.splits.train.num_batches(16) > 0.9
    phases.train_student(student, task, training, "a", teaching=phases.Teaching() if teach else None)
    np.testing.assert_allclose(norm.moving_mean, 0.9 * true, rtol=0.1)
    assert norm.momentum == 0.99
    assert [said for said in task.said if "momentum" in said]
