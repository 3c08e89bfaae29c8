"""How RULERv2 fits its prompts to a length: one size for all samples, a step less for a sample that is too long."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from tasks import text
from tasks.ruler.exact.fitting import ATTEMPTS, head_size, too_long


@dataclass(frozen=True)
class Drawn:
    """One prompt with what a right answer says, what stands at the depths that are reported, and the wrong values."""

    prompt: str
    answers: tuple[str, ...]
    targets: tuple[str, ...]
    others: frozenset[str] = frozenset()


class Stream(Protocol):
    """All prompts of a run, drawn one after the other from one random stream in the original's order."""

    step: int  # by how much a sample that is too long gets smaller

    def order(self, samples: int) -> Iterable[int]:
        """Which question every sample asks; drawn once, after the search for the size."""

    def draw(self, size: int, index: int) -> Drawn:
        """A prompt that asks question `index` among `size` other lines, questions or documents."""


def fitted(stream: Stream, room: int, count: text.TokenCount, samples: int) -> Iterator[text.Sample]:
    """The samples, each at most `room` tokens. Raises ValueError where none fits."""
    size = head_size(lambda size: count(stream.draw(size, 0).prompt), room, room, stream.step)
    for index in stream.order(samples):
        yield _sample(stream, index, size, room, count)


def _sample(stream: Stream, index: int, size: int, room: int, count: text.TokenCount) -> text.Sample:
    tokens = 0
    for _ in range(ATTEMPTS + size // stream.step):
        drawn = stream.draw(size, index)
        tokens = count(drawn.prompt)
        if tokens <= room:
            depths = [round(drawn.prompt.index(target) / len(drawn.prompt), 4) for target in drawn.targets]
            extra: dict[str, Any] = {"depths": depths} if len(depths) > 1 else {}
            depth = depths[0] if depths else None
            return text.Sample(drawn.prompt, drawn.answers, tokens, depth, extra=extra, values=drawn.others)
        if size <= stream.step:
            break
        size -= stream.step
    raise too_long(tokens, room)
