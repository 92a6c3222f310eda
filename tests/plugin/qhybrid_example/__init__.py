"""One entry of each kind that a package can add to qhybrid."""
