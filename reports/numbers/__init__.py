"""From a store to the numbers of the report. results.py has all of them by name and leads to the file of each."""
