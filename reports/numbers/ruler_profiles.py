"""Which of a run's tests are RULER, and whether they are all of it.

Profiles (`ruler-head`, `ruler-paper`, `ruler-pocket`) make different prompts, so their scores are never averaged
together; rows on stand-in data (`ruler-head+standin`) are in no average under RULER's name. Only the 13 rows of one
exact profile may be set beside published averages.
"""

from collections.abc import Sequence

from reports.numbers.frame import Test

ROWS = 13
EXACT = ("ruler-head", "ruler-paper")  # prompts as published


def by_profile(tests: Sequence[Test]) -> dict[str, list[Test]]:
    """RULER's tests by profile, without stand-ins."""
    profiles: dict[str, list[Test]] = {}
    for task, length in tests:
        profile, slash, _ = task.partition("/")
        if slash and profile.startswith("ruler-") and "+" not in profile:
            profiles.setdefault(profile, []).append((task, length))
    return profiles


def complete(tests: Sequence[Test]) -> list[Test]:
    """Those tests that make up all 13 rows of an exact profile at their length; of one profile only."""
    for profile in EXACT:
        mine = by_profile(tests).get(profile, [])
        whole = [n for n in {n for _, n in mine} if len({task for task, length in mine if length == n}) == ROWS]
        if whole:
            return [(task, length) for task, length in mine if length in whole]
    return []
