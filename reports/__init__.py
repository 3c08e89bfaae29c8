"""What is shown: from a store alone to numbers, figures, tables and the HTML page. Nothing here needs a model.

    statistics/  intervals, differences and ranks: arrays in, numbers out
    numbers/     from a store to every number of the report; results.py holds all of them together
    figures/     every figure, and catalogue.py, which names them
    published/   numbers that papers printed, with source and flags
    gate/        is a candidate's store as good as the base's?
    page/        the HTML page, the tables as files, and the paper kit

Imports go one way: page → figures, gate, published → numbers → statistics.

To add a table: a function in numbers/ that makes a `Grid`, and a line in page/sections.py, which says how.
To add a column to the summary: numbers/summary.py, `columns`.
To add a figure: write it in figures/, and name it in figures/catalogue.py.
"""
