"""Search-aligned and held-out tests, reported apart.

A search that minimises the loss of needles optimises what needle tests measure. What it never saw, tracking, counting
and questions, says whether the found factors are good or only good at needles. Perplexity is on the search's side:
loss is what searches minimise.
"""

SEARCH_ALIGNED, HELD_OUT, SHORT, OTHER = "search-aligned", "held-out", "short", "other"
SPLIT = {
    "retrieval": SEARCH_ALIGNED,
    "perplexity": SEARCH_ALIGNED,
    "tracking": HELD_OUT,
    "counting": HELD_OUT,
    "qa": HELD_OUT,
    "short": SHORT,
}


def split_of(category: str) -> str:
    """The side of a test's category; a category of one's own is "other", and belongs to neither average."""
    return SPLIT.get(category, OTHER)
