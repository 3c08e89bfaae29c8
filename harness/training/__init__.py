"""Trainings: documents, batches, the job, the weights."""
