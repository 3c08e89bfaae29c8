"""Intervals, differences and ranks: arrays in, numbers out. The interval of a mean over trained seeds: seeds.py."""
