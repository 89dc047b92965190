"""Sources of samples: arrays in memory, datasets of Keras and TensorFlow, images streamed from disk."""
