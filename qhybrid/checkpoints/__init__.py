"""Checkpoints: a trained model, its circuit and all that training needs to go on."""
