"""What each metric is called and means, in one line for people."""

TITLES = {
    "kid": "KID",
    "kid_without_copies": "KID without copies",
    "class_accuracy": "Class accuracy",
    "label_auc": "Labels: area under ROC",
    "class_kid": "KID within classes",
    "synthetic_training": "Train on synthetic, test on real",
    "fid": "FID",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "mean_top_probability": "Mean top probability",
    "class_histogram": "Class imbalance",
    "copies": "Copies of training images",
    "memorisation_share": "Memorisation: share",
    "memorisation_ratio": "Memorisation: distance ratio",
}

MEANINGS = {
    "kid": "Distance between generated and real images in the classifier's features (unbiased MMD², cubic kernel). "
    "0 cannot be told from real; lower is better. Where the images trained on keep a distance from the test images "
    "themselves, a model cannot be expected to come nearer than they.",
    "kid_without_copies": "KID of the images that are no copies of training images: what was learned beside them.",
    "class_accuracy": "Share of images that the classifier puts into the class that was asked for. "
    "Real images reach what stands under “real against real”.",
    "label_auc": "How well the classifier's probabilities tell images asked to have a label from the others, mean over "
    "labels. 1: always; ½: guessing.",
    "class_kid": "KID of each class against real images of that class, mean over classes. Unlike KID it sees when the "
    "images of one class are made in another's place.",
    "synthetic_training": "Accuracy on real test images of a classifier trained on generated images and the classes "
    "asked for; beside it the same classifier trained on as many real ones.",
    "fid": "Fréchet distance between normal laws fitted to the features. Lower is better; it falls with more images, "
    "so compare only at the same n.",
    "precision": "Share of generated images that lie among the real ones. Higher is better: they look real.",
    "recall": "Share of real images that lie among the generated ones. Higher is better: nothing is missing.",
    "density": "In how many neighbourhoods of real images a generated one lies, over the number expected. "
    "About 1: as dense as real; above 1: crowded where real images are densest.",
    "coverage": "Share of real images that have a generated one in their neighbourhood. Higher is better; unlike "
    "recall it cannot be raised by outliers among the generated images.",
    "mean_top_probability": "How sure the classifier is of each generated image. Unclear images lower it.",
    "class_histogram": "Total variation distance between the classes of generated and real images. "
    "0: all classes as often as in reality; 1: no class in common.",
    "copies": "Share of generated images that lie three times nearer to one training image than to every other one. "
    "0: none is a copy.",
    "memorisation_share": "Share of generated images nearer to a training image than to the nearest of as many "
    "held-out images. About ½: learned the law; towards 1: copies of training images.",
    "memorisation_ratio": "Median distance to the nearest training image over that to the nearest held-out image. "
    "About 1: no copies; towards 0: copies.",
}

LOWER_IS_BETTER = frozenset({"kid", "kid_without_copies", "class_kid", "fid"})
HIGHER_IS_BETTER = frozenset({"class_accuracy", "label_auc", "synthetic_training", "precision", "recall", "coverage"})
"""Metrics with a better and a worse direction; the others are read beside their floor."""
