"""Reader of the plans in a plan.json, which `ropebench export --format plan` and `ropebench import` write."""

import json
import math
from pathlib import Path
from typing import Any

from extenders._check import text_of

SCHEMA = "ropebench-plan/1"
WITH_QUERIES = "ropebench-plan/2"  # where a plan multiplies queries: a reader of 1 would leave that out

Piece = tuple[int, int, tuple[float, ...], float, int, float]  # first and last length, then the fields of a RopePlan


def read_plan_file(path: Path) -> dict[str, Any]:
    """The content of a plan.json. Raises ValueError, one line."""
    try:
        content = json.loads(text_of(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"cannot read the plan {path}: {reason}") from None
    except (json.JSONDecodeError, RecursionError):
        raise ValueError(f"{path} is no JSON; ropebench import makes a plan.json of other forms") from None
    pieces(content, str(path))
    return dict(content)


def pieces(content: Any, where: str) -> tuple[Piece, ...]:
    """The plans by length, ascending and without a gap. Raises ValueError, one line, for anything else."""
    if not isinstance(content, dict) or not str(content.get("schema", "")).startswith("ropebench-plan/"):
        raise ValueError(f"{where} is no plan.json; ropebench import makes one of what engines run")
    if content["schema"] not in (SCHEMA, WITH_QUERIES):
        raise ValueError(
            f"{where} has the schema {content['schema']}, and this ropebench reads {SCHEMA} and {WITH_QUERIES}"
        )
    if content.get("exact") is not True:
        raise ValueError(
            f"{where} holds plans of some lengths of a method that has one for every length; use the method itself"
        )
    plans = content.get("plans")
    if not isinstance(plans, list) or not plans:
        raise ValueError(f"{where} holds no plans")
    read: list[Piece] = []
    for number, plan in enumerate(plans, start=1):
        try:
            first, last = plan["lengths"]
            inv_freq = tuple(float(value) for value in plan["inv_freq"])
            rest = float(plan["attention_factor"]), int(plan["keep_first"]), float(plan.get("query_factor", 1))
            read.append((int(first), int(last), inv_freq, *rest))
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{where}: plan {number} needs lengths, inv_freq, attention_factor and keep_first, all numbers"
            ) from None
        if read[-1][0] != (read[-2][1] + 1 if len(read) > 1 else 1) or read[-1][1] < read[-1][0]:
            raise ValueError(f"{where}: the lengths of plan {number} do not follow those before it")
        if not all(math.isfinite(value) and value >= 0 for value in (*inv_freq, *read[-1][3:])):
            raise ValueError(f"{where}: plan {number} has a number that is negative or not finite")
    if not isinstance(content.get("rope"), dict):
        raise ValueError(f"{where} does not say which rotation it was made for (rope)")
    return tuple(read)
