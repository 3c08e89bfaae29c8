"""Broken forms of sound files, for the fuzzers: values replaced, left out, doubled or put elsewhere; bytes flipped."""

import copy
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**30), 0.5, -0.0, 1e30, 1e308, float("inf"), float("nan"),
    "", " ", "x", "0512", "8:32", "../../x", "/etc/passwd", "\x00", "\x1b[2J", "a\nb", "=1+1", "é" * 300, "\ud800",
    [], [[]], {}, {"": {}}, {"a": [1, "b", None]}, [None], [0], ["x"] * 50, [1, 2, 3],
)  # fmt: skip
TEXTS = ("!!int ''", "!!bool foo", "&a", "*a", "<<: *a", "? [", "- ", "0512", "8:32", "1e999", "9" * 400, "[" * 60,
         "{" * 60, "'", '"', "\t", "%YAML 2.0", "---", "...", "|", ">", ": ", "#", "\x00", "\ufeff", "~", "2026-01-01",
         "!!python/object:os.system x", "\u2028", "@", "`", ",", "]", "}", "null", "yes")  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def mutated(value: Any, rng: random.Random, times: int = 2) -> Any:
    """A copy with some of its values broken; now and then the whole value is another one."""
    if rng.random() < 0.03:
        return rng.choice(VALUES)
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, times)):
        found = list(places(value))
        if not found:
            return value
        container, key = rng.choice(found)
        action = rng.randrange(5)
        if action == 0 and isinstance(container, dict):
            del container[key]
        elif action == 1 and isinstance(container, dict):
            container[rng.choice(("", "x", "model", "cells", "\x00"))] = container[key]
        elif action == 2:
            other, place = rng.choice(found)
            container[key] = copy.deepcopy(other[place]) if place in other or isinstance(other, list) else None
        elif action == 3 and isinstance(container[key], str | int | float) and not isinstance(container[key], bool):
            container[key] = rng.choice((str(container[key]) + "x", -1, str(container[key]), [container[key]]))
        else:
            container[key] = copy.deepcopy(rng.choice(VALUES))
    return value


def mutated_text(text: str, rng: random.Random) -> str:
    """Lines moved, doubled or cut, and signs of YAML put in."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(text) + 1)
        action = rng.randrange(4)
        if action == 0:
            text = text[:place] + rng.choice(TEXTS) + text[place:]
        elif action == 1:
            text = text[:place] + text[min(len(text), place + rng.randint(1, 30)) :]
        elif action == 2:
            lines = text.split("\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            text = "\n".join(lines)
        else:
            text = text[:place] + rng.choice((" ", "\n", "\n  ", "\n- ", ": ")) + text[place:]
    return text


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, or replaced by something that is no such file at all."""
    action = rng.randrange(5)
    if action == 0:
        return content[: rng.randrange(len(content) + 1)]
    if action == 1:
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    if action == 2:
        return rng.choice((b"", b"\x00" * 64, b"\xff" * 64, b"<html>", b"PK\x03\x04", content + b"\x00", b"{}" * 40))
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(min(len(changed), 400 if action == 3 else len(changed)))] = rng.randrange(256)
    return bytes(changed)
