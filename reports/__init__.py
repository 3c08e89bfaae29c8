"""What is shown: frames, statistics, figures, tables and the HTML page, from a store alone."""
