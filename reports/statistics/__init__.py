"""Intervals, differences and ranks: numbers in, numbers out."""
