"""What may be followed over lengths: the tests that all of them share.

An average over other tests at other lengths moves with the tests and not with the length.
"""

from collections.abc import Sequence

from reports.numbers.frame import Test

OTHER_TESTS = "other tests at other lengths"


def shared(tests: Sequence[Sequence[Test]]) -> tuple[tuple[Test, ...], ...]:
    """For each length those of its tests that every length has which has any; none at all where they share none."""
    names = [{task for task, _ in at_length} for at_length in tests if at_length]
    common = set.intersection(*names) if names else set()
    return tuple(tuple(test for test in at_length if test[0] in common) for at_length in tests)


def note(tests: Sequence[Sequence[Test]]) -> str:
    """How many tests the average over lengths is made of, where it is not all of them; "" where it is."""
    used = len({task for at_length in shared(tests) for task, _ in at_length})
    known = len({task for at_length in tests for task, _ in at_length})
    if used == known:
        return ""
    if used == 0:
        return f"Over lengths the average is not known: {OTHER_TESTS}."
    return f"Over lengths only tests are averaged that all lengths share: {used} of {known}."
