"""Reader of rescale factors from a file.

JSON: a list, a list of identical rows (one per layer), or an object with the list under `long_factor`,
`short_factor`, `factors` or `rescale_factors`, directly or inside `rope_parameters` or `rope_scaling` (so that a
model's config.json works). Anything else: numbers split by commas, semicolons or white space, all on one line, one
per line, or identical lines, one per layer, as in LongRoPE's released CSV files; lines with a leading # are skipped.
A pair that is stopped stands as null (the result of a search), inf or 1e18, and is read as 1e18.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extenders._check import text_of

STOPPED = 1e18  # the factor of a stopped pair in lists and configurations: JSON has no infinity


def read_factors(path: Path, keys: Sequence[str] = ("long_factor", "factors", "rescale_factors")) -> tuple[float, ...]:
    """The factors in a file; `keys` are the names to look for in a JSON object, first found wins.

    Raises ValueError when the file cannot be read or holds anything but one list of numbers.
    """
    try:
        text = text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise ValueError(f"cannot read the factors in {path}: {reason}") from None
    rows = _json_rows(path, text, keys) if text.lstrip()[:1] in ("[", "{") else _text_rows(path, text)
    if not rows or not rows[0]:
        raise ValueError(f"{path} holds no factors")
    rows = [[min(value, STOPPED) for value in row] for row in rows]  # infinity too, which JSON has no word for
    if len(rows) > 1 and all(len(row) == 1 for row in rows):
        return tuple(row[0] for row in rows)
    different = [number for number, row in enumerate(rows) if row != rows[0]]
    if different:
        raise ValueError(
            f"{path} has {len(rows)} rows that are not all alike (row {different[0] + 1} differs from the first); "
            "one list of factors serves all layers"
        )
    return tuple(rows[0])


def configured(path: Path) -> dict[str, Any] | None:
    """The RoPE dictionary of a configuration with lists in it, which divide θ^(-2i/d) and not what a checkpoint was
    trained with; None for any other file that `read_factors` reads."""
    text = path.read_text(encoding="utf-8")
    content = json.loads(text) if text.lstrip()[:1] == "{" else {}
    named = (place for place in _places(content) if isinstance(place, dict))
    return next((place for place in named if place.get("long_factor") or place.get("short_factor")), None)


def _json_rows(path: Path, text: str, keys: Sequence[str]) -> list[list[float]]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from None
    if isinstance(content, dict):
        places = _places(content)
        lists = [place[key] for key in keys for place in places if isinstance(place, dict) and place.get(key)]
        if not lists:
            raise ValueError(f"{path} has no list of factors; name it {' or '.join(keys)}, or use ropebench import")
        content = lists[0]
    rows = content if isinstance(content, list) and content and isinstance(content[0], list) else [content]
    for row in rows:
        if not isinstance(row, list) or not all(value is None or type(value) in (int, float) for value in row):
            raise ValueError(f"{path} must hold a list of numbers")
    return [[STOPPED if value is None else float(value) for value in row] for row in rows]


def _places(content: dict[str, Any]) -> list[Any]:
    """Where a list may stand: directly, in a RoPE dictionary or in one of its layer types, also in the text model's."""
    places: list[Any] = [content]
    for key in ("rope_parameters", "rope_scaling"):
        inner = content.get(key)
        places += [inner, inner.get("full_attention")] if isinstance(inner, dict) else []
    text = content.get("text_config")
    return places + (_places(text) if isinstance(text, dict) else [])


def _text_rows(path: Path, text: str) -> list[list[float]]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                rows.append([float(word) for word in re.split(r"[\s,;]+", line.strip(" \t,;\ufeff"))])
            except ValueError:
                raise ValueError(f"{path}, line {number}: factors are numbers, got {line.strip()[:60]!r}") from None
    return rows
