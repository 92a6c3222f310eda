"""Forward process, noise sources, samplers. Samplers know nothing of where the noise or the prediction comes from."""
