"""`docs/tests.md`: every test with three of its own samples, drawn at random, so that a person can read what is asked.

    python -m tasks.examples > docs/tests.md

Prompts are made by the tests themselves, for 512 words and marks (no tokenizer is needed for that), and shortened to
their beginning, their end and the places where the answer or a word of the question stands.
"""

import inspect
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import tasks.base
from tasks.answers import CONTROLS, SampleTask
from tasks.base import Task
from tasks.corpora import world
from tasks.failures import CLASSES
from tasks.short import POCKET

LENGTH, SAMPLES, OF, AROUND = 512, 3, 200, 90
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {  # beside the defaults
    "needle": ({"needles": 4, "asked": 3}, {"control": "no-needle"}, {"control": "closed-book"}),
    "facts_in_text": ({"hops": 2}, {"hops": 3}),
    "graphwalks": ({"ask": "parents", "names": "word"},),
    "key_value": ({"shots": 2},),
    "ordinal": ({"form": "record"},),
    "unmatched_needle": ({"link": "stated"},),
}
SHORT: dict[str, Callable[[], list[Any]]] = {  # as tasks/short/pocket/data.py, which needs a library to be read
    "short/pocket_arithmetic": lambda: world.arithmetic_questions(500),
    "short/pocket_cloze": lambda: world.cloze_questions(500),
    "short/pocket_facts": lambda: world.fact_questions(250),
    "short/pocket_perplexity": lambda: [
        {"text": "\n".join(map(world.story, [random.Random(f"pocket perplexity {i}")] * 3))} for i in range(OF)
    ],
}
INTRODUCTION = """# The long-context tests

Written by `python -m tasks.examples` from the tests themselves; do not edit. Three samples of each are shown, drawn at
random from the first {of} of seed 0, for a length of {length} words and marks. They are shortened: `[…]` stands for
what was left out. Names, codes and questions are from a half that the training of the pocket models never sees. RULER's
tasks are in [ruler.md](ruler.md), the pocket short suite is at the end; other suites are lm-eval's own tasks.

Any test that hides something can be run as a control, whose score belongs beside the real one and into no average:

{controls}

A wrong answer is given the first of these classes that fits:

{classes}
"""


def page() -> str:
    """The whole page as Markdown."""
    listed = [f"- `{name}`: {words}" for name, words in CONTROLS.items()]
    classes = [f"- **{name}**: {words}" for name, words in CLASSES.items()]
    parts = [INTRODUCTION.format(length=LENGTH, of=OF, controls="\n".join(listed), classes="\n".join(classes))]
    for name in tasks.base.names():
        if "/" not in name:
            parts.append("\n".join(_section(name)))
    parts += ["\n".join(_short(name)) for name in tasks.base.names() if name.startswith("short/pocket_")]
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str) -> Iterator[str]:
    task = tasks.base.make(name)
    yield from (f"## {name}", "", _sentence(inspect.getmodule(type(task))), _sentence(type(task)), "")
    for given in ({}, *SETTINGS.get(name, ())):
        task = tasks.base.make(name, **given)
        if given:
            yield from ("With " + ", ".join(f"`{key}: {value}`" for key, value in given.items()) + ":", "")
        for i in _drawn(f"{name} {sorted(given.items())}", OF):
            yield from ("```text", _shown(task, i), "```", "")


def _drawn(name: str, of: int) -> list[int]:
    return sorted(random.Random(f"examples {name}").sample(range(of), SAMPLES))


def _short(name: str) -> Iterator[str]:
    """A task of the pocket short suite: its first comment, and rows of its data, the right choice first."""
    comment = (POCKET / f"{name.removeprefix('short/')}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    yield from (f"## {name}", "", comment.removeprefix("# "), "")
    rows: list[Any] = SHORT[name]()
    for i in _drawn(name, len(rows)):
        row = rows[i]
        if "text" in row:
            said = f"{row['text'][:240]} […]"
        elif "choices" in row:
            right = row["choices"][row["answer"]]
            said = f"{row['question']}\n→ {right} (not {', '.join(one for one in row['choices'] if one != right)})"
        else:
            said = f"{row['question']}\n→ {row['answer']}"
        yield from ("```text", said, "```", "")


def _shown(task: Task, index: int) -> str:
    if not isinstance(task, SampleTask):
        from tasks.perplexity import world_text

        return world_text(f"world 0 {index}", 1)[:240] + " […]"
    made = task.sample(0, index, LENGTH - task.new_tokens, words)
    return f"{shortened(made.prompt, made.references)}\n→ {' | '.join(made.references)}"


def words(text: str) -> int:
    """Words and marks of a text, in the place of tokens."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def shortened(prompt: str, references: tuple[str, ...]) -> str:
    """The prompt's beginning and end, and what stands around the references and the rarer words of the question."""
    question = prompt.rpartition("\n")[2]
    asked = {word for word in re.findall(r"[\w-]{4,}", question) if prompt.count(word) <= 8}
    places = [0, max(0, len(prompt) - len(question)), len(prompt)]
    for key in {*references, *asked}:
        places += [match.start() for match in re.finditer(rf"(?<!\w){re.escape(key)}(?!\w)", prompt)]
    shown = ""
    end = 0
    for place in sorted(places):
        start, stop = max(end, place - AROUND), min(len(prompt), place + AROUND)
        if stop <= end:
            continue
        start = end if start - end < 12 else start
        shown += (" […] " if start > end else "") + prompt[start:stop]
        end = stop
    return shown


def _sentence(documented: Any) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.?!])\s", text)[0]


if __name__ == "__main__":
    print(page(), end="")
