"""Numbers that papers printed, with source and flags."""
