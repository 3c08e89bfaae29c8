"""Numbers that papers printed, with source and flags (*.csv), beside ours (beside.py) and looked at again."""
