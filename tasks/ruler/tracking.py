"""RULER's variable tracking (NVIDIA/RULER scripts/data/synthetic/variable_tracking.py): which names got this value?

One chain of assignments stands in order among noise lines, after a small worked example.
"""

import random
import string
from dataclasses import dataclass

from tasks import text
from tasks.ruler.wording import wording


@dataclass(frozen=True)
class Tracking:
    hops: int = 4  # assignments after the first
    example: bool = True


def names(rng: random.Random, letters: int, count: int, held_out: bool) -> list[str]:
    return text.draw(rng, lambda r: "".join(r.choices(string.ascii_uppercase, k=letters)), count, held_out)


def chain(names: list[str], value: str) -> list[str]:
    """The start and its hops, one line each; a hop ends in a space as the original's does."""
    hops = [f"VAR {new} = VAR {old} " for old, new in zip(names, names[1:], strict=False)]
    return [f"VAR {names[0]} = {value}", *hops]


def question(context: str, value: str, count: int) -> str:
    said = wording()
    return said.vt_template.format(context=context, query=value) + said.vt_prefix.format(num_v=count, query=value)


def sample(
    task: Tracking, rng: random.Random, budget: int, count: text.TokenCount, held_out: bool = True
) -> text.Sample:
    tracked = names(rng, 5, task.hops + 1, held_out)
    value = text.draw(rng, text.number(5), 1, held_out)[0]
    shown = names(rng, 3, task.hops + 1, held_out)
    shown_value = text.draw(rng, text.number(5), 1, held_out)[0]
    seed = rng.getrandbits(64)
    example = ""
    if task.example:
        # the original's example fills 500 tokens with noise; the suite's has none of it
        example = question("\n".join(chain(shown, shown_value)), shown_value, task.hops + 1) + " " + " ".join(shown)
        example += "\n\n"

    def build(size: int) -> str:
        lines = [wording().noise] * size
        at = sorted(random.Random(f"places {seed}").sample(range(size + task.hops + 1), task.hops + 1))
        for place, line in zip(at, chain(tracked, value), strict=True):
            lines.insert(place, line)
        return example + question("\n".join(lines), value, task.hops + 1)

    size = text.fit(build, max(1, budget // 8), count, budget)
    prompt = build(size)
    depth = prompt.rindex(f"= {value}") / len(prompt)
    return text.Sample(prompt, tuple(tracked), count(prompt), round(depth, 4), others=tuple(shown))
