"""Named datasets: digits, and the images and texts of tensorflow-datasets."""
