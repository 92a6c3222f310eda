"""How good the generated images are: features, metrics with intervals and floors, memorisation, report."""
