"""Text of models as readers may see it: nothing hides in it, and long text is cut to what matters."""

import unicodedata
from collections.abc import Sequence

PROMPT = (150, 330, 240)  # characters of a prompt's head, the surroundings of the answer, and its tail
GAP = " […] "
SHOWN_AS_IT_IS = {"\n", "\t"}


def visible(text: object) -> str:
    """Text in which nothing hides: control characters become symbols, invisible and direction marks their code.

    Line ends and tabs stay, because they shape the text; whoever shows it escapes it.
    """
    given = str(text)
    if given.replace("\n", "").replace("\t", "").isprintable():  # nearly always, and quick
        return given
    return "".join(_visible(character) for character in given.replace("\r\n", "␍\n"))


def _visible(character: str) -> str:
    code = ord(character)
    if character in SHOWN_AS_IT_IS:
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"⟨U+{code:04X}⟩"
    return character


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def excerpt(prompt: str, references: Sequence[str], depth: float | None) -> str:
    """Head, the surroundings of the first reference (or of the depth), and tail.

    The last place of the reference counts: in a prompt with a worked example the first one is the example's.
    """
    head, middle, tail = PROMPT
    if len(prompt) <= head + middle + tail + 2 * len(GAP):
        return visible(prompt)
    centre = prompt.rfind(references[0]) if references and references[0] else -1
    if centre < 0 and depth is not None:
        centre = int(depth * len(prompt))
    if centre < 0:
        return visible(f"{prompt[: head + middle // 2]}{GAP}{prompt[-(middle // 2 + tail) :]}")
    start = max(head, min(centre - middle // 2, len(prompt) - tail - middle))
    return visible(GAP.join((prompt[:head], prompt[start : start + middle], prompt[-tail:])))
