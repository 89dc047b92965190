import numpy as np
import tensorflow as tf

from tfcompress.agents import ReplayBuffer


def episode(first, steps):
    """States whose entries and actions whose values name the step: first, first + 1, ..."""
    steps = np.arange(first, first + steps)
    return np.stack([steps, steps + 0.5], axis=1), steps / 100


class ReplayBufferTest(tf.test.TestCase):
    def rows(self, buffer):
        """The transitions, oldest first, as lists (state[0], action, reward, next_state[0], terminal, epoch)."""
        state = buffer.state_dict()
        columns = [state["states"][:, 0], state["actions"], state["rewards"], state["next_states"][:, 0]]
        rows = zip(*columns, state["terminals"], state["epochs"], strict=True)
        return [tuple(round(float(value), 4) for value in row) for row in rows]

    def test_one_episode(self):
        buffer = ReplayBuffer(capacity=10, state_size=2)
        buffer.add_episode(*episode(1, 3), reward=0.7, epoch=4)
        self.assertLen(buffer, 3)
        self.assertEqual(self.rows(buffer), [(1, 0.01, 0.7, 2, 0, 4), (2, 0.02, 0.7, 3, 0, 4), (3, 0.03, 0.7, 0, 1, 4)])

    def test_the_oldest_are_overwritten_across_the_end(self):
        buffer = ReplayBuffer(capacity=5, state_size=2)
        for first, epoch in ((1, 0), (4, 1)):
            buffer.add_episode(*episode(first, 3), reward=epoch, epoch=epoch)
        self.assertLen(buffer, 5)
        rows = self.rows(buffer)
        self.assertEqual([row[0] for row in rows], [6, 2, 3, 4, 5])
        self.assertEqual([row[3] for row in rows], [0, 3, 0, 5, 6])  # next states still belong to their states
        self.assertEqual([row[4] for row in rows], [1, 0, 1, 0, 0])
        self.assertEqual([row[5] for row in rows], [1, 0, 0, 1, 1])

    def test_samples_are_rows_of_the_filled_part(self):
        buffer = ReplayBuffer(capacity=1000, state_size=2)
        buffer.add_episode(*episode(1, 4), reward=0.5, epoch=3)
        batch = buffer.sample(400, np.random.default_rng(0))
        self.assertEqual(batch.states.shape, (400, 2))
        self.assertAllClose(batch.states[:, 1], batch.states[:, 0] + 0.5)
        self.assertAllClose(batch.actions, batch.states[:, 0] / 100)
        self.assertAllClose(batch.next_states[:, 0], np.where(batch.states[:, 0] == 4, 0, batch.states[:, 0] + 1))
        self.assertAllEqual(batch.terminals, batch.states[:, 0] == 4)
        self.assertAllEqual(batch.epochs, np.full(400, 3))
        _, counts = np.unique(batch.states[:, 0], return_counts=True)
        self.assertLen(counts, 4)
        self.assertBetween(counts.min(), 70, 100)  # 100 expected, with a deviation of 8.7

    def test_continues_from_its_state(self):
        for steps_before in (3, 7):  # not yet full; full and wrapped around
            with self.subTest(steps_before=steps_before):
                one, other = ReplayBuffer(5, 2), ReplayBuffer(5, 2)
                for first in range(1, steps_before + 1):
                    one.add_episode(*episode(first, 1), reward=first, epoch=first)
                other.load_state_dict(one.state_dict())
                for buffer in (one, other):
                    buffer.add_episode(*episode(20, 2), reward=0.1, epoch=9)
                self.assertEqual(self.rows(one), self.rows(other))

    def test_refuses_what_does_not_fit(self):
        buffer = ReplayBuffer(capacity=5, state_size=2)
        with self.assertRaisesRegex(ValueError, "empty"):
            buffer.sample(1, np.random.default_rng(0))
        with self.assertRaisesRegex(ValueError, r"shape \(3, 3\)"):
            buffer.add_episode(np.zeros([3, 3]), np.zeros(3), 0.0, 0)
        with self.assertRaisesRegex(ValueError, r"shape \(2,\)"):
            buffer.add_episode(np.zeros([3, 2]), np.zeros(2), 0.0, 0)
        with self.assertRaisesRegex(ValueError, "steps=6"):
            buffer.add_episode(*episode(1, 6), 0.0, 0)
        with self.assertRaisesRegex(ValueError, "capacity=0"):
            ReplayBuffer(0, 2)

    def test_refuses_the_state_of_another_buffer(self):
        buffer = ReplayBuffer(capacity=5, state_size=2)
        buffer.add_episode(*episode(1, 3), reward=0.5, epoch=0)
        state = buffer.state_dict()
        smaller = ReplayBuffer(capacity=2, state_size=2)
        other = ReplayBuffer(capacity=5, state_size=3)
        for broken in (smaller, other):
            with self.assertRaisesRegex(ValueError, "capacity=5|capacity=2"):
                broken.load_state_dict(state)
            self.assertLen(broken, 0)
        with self.assertRaisesRegex(ValueError, "rewards"):
            buffer.load_state_dict({name: value for name, value in state.items() if name != "states"})
        with self.assertRaisesRegex(ValueError, "cursor=1"):
            buffer.load_state_dict(state | {"cursor": np.array(1)})
