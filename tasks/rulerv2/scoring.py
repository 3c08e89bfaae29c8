"""RULERv2's scores (nemo_skills/evaluation/evaluator, ruler.py and mcq.py), in [0, 1].

A text that should be copied counts by the share of its words that are right where it is not there as a whole: 1 less
the word error rate of all that was said. Letters of other scripts than ours are not taken for A to D, as there.
"""

import re


def copied(generation: str, references: tuple[str, ...]) -> float:
    """The mean over the references."""
    return sum(_close(generation, reference) for reference in references) / len(references)


def copied_last(generation: str, references: tuple[str, ...]) -> float:
    """The same of what stands after the last empty line."""
    return copied(generation.split("\n\n")[-1], references)


def answered(generation: str, references: tuple[str, ...]) -> float:
    """The best of the references, documents that were copied left out."""
    said = re.sub(r"Document \d+:(?:.*\n)+?\n", "", generation)
    return max(_close(said, reference) for reference in references)


def chosen(generation: str, references: tuple[str, ...]) -> float:
    """1 when the letter is right that was said last in a box, or after the words that announce one."""
    return float(_letter(generation) == references[0])


def _close(said: str, reference: str) -> float:
    said, reference = said.lower(), reference.lower()
    if reference in said:
        return 1.0
    words = reference.split()
    return max(0.0, 1 - _edits(said.split(), words) / len(words)) if words else 0.0


def _edits(first: list[str], second: list[str]) -> int:
    """How many words are to be put in, left out or replaced to make one list the other."""
    row = list(range(len(second) + 1))
    for i, word in enumerate(first, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(second, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def _letter(generation: str) -> str | None:
    said = _boxed(generation)
    if not said:
        found = re.findall(r"The final answer is (.+)$", generation)
        said = found[-1] if found else ""
    said = said.strip()
    if len(said) == 1:
        return said.upper()
    letters = re.findall(r"\b[A-Z]\b(?!.*\b[A-Z]\b)", said, re.DOTALL)
    if not letters:
        letters = re.findall(r"(?i)[\*\_]{0,2}Answer[\*\_]{0,2}\s*:[\s\*\_]{0,2}\s*([A-Z])(?![a-zA-Z0-9])", generation)
    return letters[-1].upper() if letters else None


def _boxed(generation: str) -> str:
    """What stands in the last box; "" where none is closed."""
    start = generation.rfind("\\boxed")
    if start < 0 or not generation.startswith("\\boxed{", start):
        return ""
    depth = 0
    for place in range(start, len(generation)):
        depth += {"{": 1, "}": -1}.get(generation[place], 0)
        if depth == 0 and generation[place] == "}":
            return generation[start + len("\\boxed{") : place]
    return ""
