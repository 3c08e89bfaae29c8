"""What may be followed over lengths: the tests that all of them share.

An average over other tests at other lengths moves with the tests and not with the length.
"""

from collections.abc import Sequence

from reports.numbers.scores import Test

OTHER_TESTS = "other tests at other lengths"


def shared(tests: Sequence[Sequence[Test]]) -> tuple[tuple[Test, ...], ...]:
    """For each length those of its tests that every length has which has any; none at all where they share none."""
    names = [{task for task, _ in one} for one in tests if one]
    common = set.intersection(*names) if names else set()
    return tuple(tuple(test for test in one if test[0] in common) for one in tests)


def note(tests: Sequence[Sequence[Test]]) -> str:
    """How many tests the average over lengths is made of, where it is not all of them; "" where it is."""
    used = len({task for one in shared(tests) for task, _ in one})
    known = len({task for one in tests for task, _ in one})
    if used == known:
        return ""
    if used == 0:
        return f"Over lengths the average is not known: {OTHER_TESTS}."
    return f"Over lengths only tests are averaged that all lengths share: {used} of {known}."
