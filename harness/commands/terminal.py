"""What all commands share: words from the command line, and lines for the terminal, without control signs."""

import shlex
import sys
from pathlib import Path
from typing import Any

import typer

MOST = 1500  # signs of an error
ARGUMENTS: list[str] = []  # the command line at work, which helpers repeat


def command_line() -> str:
    """What a user types to continue."""
    return shlex.join(["ropebench", *ARGUMENTS])


def from_here(model: str) -> str:
    """A folder named on the command line is relative to the working folder, not to the experiment file."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def values(assignments: list[str], option: str) -> dict[str, Any]:
    from harness.experiment.strict_yaml import loads

    values: dict[str, Any] = {}
    for text in assignments:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"{option} wants NAME=VALUE, got {text!r}")
        if name.strip() in values:
            raise ValueError(f"{option} {name.strip()} is given twice")
        values[name.strip()] = loads(value, f"{option} {name.strip()}")
    return values


def print_table(head: list[str], rows: list[list[str]]) -> None:
    cells = [head, *[[clean(value) for value in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


def say(line: str) -> None:
    print(clean(line), file=sys.stderr, flush=True)


def clean_lines(text: str) -> str:
    return "\n".join(clean(line) for line in text.splitlines())


def clean(text: str) -> str:
    """Without control signs, which could move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def one_line(text: str) -> str:
    """An error as one line for a terminal; of a very long one, its beginning and its end."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= MOST else f"{line[: MOST - 300]} … {line[-300:]}"


def fail(line: str, code: int) -> None:
    print(f"ropebench: {one_line(line)}", file=sys.stderr)
    raise typer.Exit(code)
