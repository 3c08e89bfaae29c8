"""Searches for a method's numbers on a model."""
