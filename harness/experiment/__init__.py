"""The experiment file, and the cells that follow from it."""
