"""The page (sections.py: what stands on it), the tables as CSV, Markdown and LaTeX, and the paper kit."""
