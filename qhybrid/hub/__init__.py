"""Trained models as folders for others: Hugging Face's layout, loaded from a path or shipped with the package."""
