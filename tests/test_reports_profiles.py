"""RULER's profiles are never averaged together, and stand-ins never under RULER's name."""

from reports.numbers.ruler_profiles import by_profile, complete
from tasks import base

HEAD = [(task, 4096) for task in base.expand("ruler-head")]


def test_profiles_apart_and_without_stand_ins() -> None:
    tests = [*HEAD, ("ruler-pocket/vt", 4096), ("ruler-head+standin/qa_1", 4096), ("needle", 4096), ("ruler", 4096)]
    found = by_profile(tests)
    assert list(found) == ["ruler-head", "ruler-pocket"]
    assert found["ruler-head"] == HEAD and found["ruler-pocket"] == [("ruler-pocket/vt", 4096)]


def test_complete_means_all_rows_of_one_exact_profile_at_a_length() -> None:
    assert len(HEAD) == 13 and complete(HEAD) == HEAD
    assert complete(HEAD[1:]) == []
    assert complete([*HEAD[1:], ("ruler-paper/vt", 4096)]) == []
    assert complete([*HEAD[1:], ("ruler-head+standin/" + HEAD[0][0].split("/")[1], 4096)]) == []
    assert complete([(task.replace("head", "pocket"), n) for task, n in HEAD]) == []
    longer = [(task, 8192) for task, _ in HEAD[1:]]
    assert complete([*longer, *HEAD]) == HEAD
