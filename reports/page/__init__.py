"""The HTML page, the CSV, Markdown and LaTeX files, and the paper kit."""
