"""Ways in which people write a training, and whether the callback sees in each what the model sees."""
