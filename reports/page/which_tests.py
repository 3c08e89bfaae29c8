"""A page of documents: which tests can tell methods apart, for every store that is named.

python -m reports.page.which_tests results/pocket results/real > docs/which-tests.md
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.store import Store
from reports.numbers.results import Results
from reports.numbers.telling_apart import APART, FLOOR, FULL, OPEN, POINTS
from reports.page.table_formats import markdown, to_markdown

INTRODUCTION = f"""# Which tests can tell methods apart?

Written by `python -m reports.page.which_tests` from the stores of runs; do not edit. Every store has the unextended
model and another method, inside the trained window and beyond it. A test is put under the first of these that fits:

- **{FLOOR}** (the lower limit of the unextended model's score is not above chance, or below {100 * POINTS:.0f} points
  where chance is 0): whatever a method does, the test can't show it. Averages that hold such a test say so.
- **{FULL}**: the unextended model still has {100 * (1 - POINTS):.0f} % or more at the longest length.
- **{APART}**: at the longest length the best other method differs from the unextended model (95 % interval).
- **{OPEN}**: the rest. More samples may settle it.

What each test asks, with three random samples of it: [tests.md](tests.md), [ruler.md](ruler.md).
"""


def page(stores: Sequence[Store]) -> str:
    """The page as Markdown. Raises ValueError for a store that has no such table."""
    parts = [INTRODUCTION]
    for store in stores:
        results = Results(store)
        if not results.telling_apart:
            raise ValueError(
                f"{store.folder} judges no test: it takes the unextended model, another method, and lengths inside and "
                "beyond the trained window"
            )
        run, model = results.frames.run, results.frames.model
        counts = ", ".join(f"{number} {status}" for status, number in results.counts.items())
        setting = f"{run['name']}, dtype {model.get('dtype', 'unknown')}, trained window "
        setting += f"{results.frames.trained_length:,} tokens; cells: {counts}."
        parts += [f"## {markdown(str(model.get('name', '')))}\n\n{markdown(setting)}\n"]
        parts += [to_markdown(table) for table in results.telling_apart]
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    try:
        print(page([Store.open(Path(name)) for name in sys.argv[1:]]), end="")
    except ValueError as error:
        sys.exit(f"which_tests: {error}")
