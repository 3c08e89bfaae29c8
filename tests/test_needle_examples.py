"""docs/tests.md is what the tests are now."""

from pathlib import Path

import tasks.base
from tasks import examples

PAGE = Path(__file__).parent.parent / "docs" / "tests.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == examples.page(), (
        "write it anew: python -m tasks.examples > docs/tests.md"
    )


def test_every_test_is_on_the_page_with_three_samples():
    """But for RULER's, which have a page of their own."""
    sections = examples.page().split("\n## ")[1:]
    names = [name for name in tasks.base.names() if "/" not in name]
    short = [name for name in tasks.base.names() if name.startswith("short/")]
    assert [section.split("\n")[0] for section in sections] == names + short
    for section in sections[len(names) :]:
        assert section.count("```text") == 3
    for section in sections[: len(names)]:
        assert section.count("```text") % 3 == 0 and section.count("```text") >= 3
        about = section.split("\n")[2:4]
        assert all(line.endswith((".", "?")) and line.count(". ") == 0 for line in about), "two sentences, one a line"


def test_shortened_keeps_both_ends_and_what_stands_around_the_answer():
    prompt = "Start. " + "x " * 300 + "The code of Rome is 77. " + "y " * 300 + "\nWhat is the code of Rome?"
    shown = examples.shortened(prompt, ("77",))
    assert shown.startswith("Start. ") and shown.endswith("\nWhat is the code of Rome?")
    assert "The code of Rome is 77." in shown and shown.count("[…]") == 2 and len(shown) < 600
