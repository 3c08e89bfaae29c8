"""How a prompt is put to a model, where that is more than the prompt: in a chat template, with room to think.

The prompt is the user's turn of the model's own template, and what the model thinks aloud (<think> … </think>) is no
part of its answer. Thinking that other marks enclose counts as answer. A prompt is encoded apart from the template, so
text in it that spells a special token is text all the same.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tasks.base import LM, Generation

MARK = "ropebench puts the prompt here"
THINKS, ANSWERS = "<think>", "</think>"
DAY = "26 Jul 2024"  # some templates state the date: always this one, so that prompts are the same every day

Template = tuple[str, str]  # what stands before the prompt and behind it


@dataclass(frozen=True)
class Asking:
    """`template` is None for none; `new_tokens` is the whole budget, thinking included."""

    template: Template | None
    new_tokens: int

    @property
    def identity(self) -> dict[str, Any]:
        """What of it is in the key of a cell."""
        if self.template is None:
            return {"new_tokens": self.new_tokens}
        return {"new_tokens": self.new_tokens, "template": template_hash(self.template), "thinking": "stripped"}


class Turns(LM, Protocol):
    """A model that takes tokens around a prompt."""

    def with_start(self, ids: list[int]) -> list[int]:
        """The ids with BOS before them, once."""

    def generate(
        self,
        prompts: Sequence[str],
        new_tokens: int,
        longest: int | None = None,
        special: bool = False,
        around: tuple[Sequence[int], Sequence[int]] = ((), ()),
    ) -> Iterator[Generation]:
        """As `LM.generate`, every prompt between the tokens of `around`."""


class AskedLM:
    """Implements `tasks.base.LM`: the model, asked in this way by a test whose own budget is `own` new tokens.

    A test that is run at a length of `spare` tokens less than its own fills the whole length.
    """

    def __init__(self, lm: Turns, asking: Asking, own: int) -> None:
        self._lm, self._asking = lm, asking
        self.spare = asking.new_tokens - own
        before, after = asking.template or ("", "")
        self._around = lm.encode(before, special=True), lm.encode(after, special=True)

    @property
    def added_tokens(self) -> int:
        before, after = self._around
        return len(self._lm.with_start([*before, *after]))

    def encode(self, text: str, special: bool = False) -> list[int]:
        return self._lm.encode(text, special)

    def decode(self, ids: Sequence[int]) -> str:
        return self._lm.decode(ids)

    def plan_hash(self, length: int) -> str:
        return self._lm.plan_hash(length)

    def generate(
        self, prompts: Sequence[str], new_tokens: int, longest: int | None = None, special: bool = False
    ) -> Iterator[Generation]:
        most = None if longest is None else longest + self.spare
        answers = self._lm.generate(prompts, new_tokens + self.spare, most, special, around=self._around)
        if self._asking.template is None:
            yield from answers
            return
        opened = THINKS in self._asking.template[1].rpartition(ANSWERS)[2]
        for answer in answers:
            yield replace(answer, text=spoken(answer.text, opened))

    def losses(self, ids: Sequence[int], length: int | None = None, start: int = 1) -> list[float]:
        return self._lm.losses(ids, length, start)

    def answer_losses(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[float, bool]]:
        return self._lm.answer_losses(pairs)


def spoken(text: str, opened: bool = False) -> str:
    """The answer without what was thought; nothing where thinking never ended. `opened`: the template began it."""
    _, ended, said = text.rpartition(ANSWERS)
    if ended:
        return said
    return "" if opened or THINKS in text else text


def template_of(tokenizer: Any) -> Template:
    """What the model's own chat template puts around a user's only turn. Raises ValueError where there is none."""
    try:
        whole = tokenizer.apply_chat_template(
            [{"role": "user", "content": MARK}],
            tokenize=False,
            add_generation_prompt=True,
            chat_template=f"{{% macro strftime_now(form) %}}{DAY}{{% endmacro %}}{tokenizer.get_chat_template()}",
            date_string=DAY,
        )
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"chat: model asks for the tokenizer's chat template, and there is none ({reason})") from None
    parts = whole.split(MARK)
    if len(parts) != 2:
        raise ValueError("chat: the model's template does not hold a user's turn once; give prompts without it")
    return parts[0], parts[1]


def template_hash(template: Template) -> str:
    return hashlib.sha256("\0".join(template).encode()).hexdigest()[:16]
