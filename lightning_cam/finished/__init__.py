"""A finished model, without a trainer: from a checkpoint on disk to a verdict."""
