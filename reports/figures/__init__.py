"""The figures, each in a file of its own; catalogue.py has all of them by name, style.py says how they look."""
