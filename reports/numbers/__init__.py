"""From a store to the numbers of the report, as frames and rows."""
