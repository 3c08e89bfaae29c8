"""What runs the comparison: models, plans in place, experiments, the store, the command line."""

from harness import signals

__version__ = "0.1.0"

if signals.command_begins():  # importing the rest takes longer than a user needs to change their mind
    signals.one_line_from_now()
