"""What runs the comparison: models, plans in place, experiments, the store, the command line."""

__version__ = "0.1.0"
