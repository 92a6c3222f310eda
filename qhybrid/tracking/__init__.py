"""A run in TensorBoard, MLflow and Weights & Biases, by accelerate's trackers.

`kinds` says what the three do each in its own way, `tracked` opens those that a run names while a stage works.
"""
