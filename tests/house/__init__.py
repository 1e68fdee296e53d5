"""What several tests share: models, trainings, pictures and readers. No test module imports another."""
