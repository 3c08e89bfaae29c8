"""`python -m harness.pocket pretrain|card`: make a shipped model again, write its card. For developers."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from harness.pocket.card import write_card
from harness.pocket.pretrain import pretrain as make
from harness.store import Store

SHOWN_SECONDS = 30.0  # between two lines

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def pretrain(
    name: Annotated[str, typer.Argument(help="pocket-llama or pocket-phi.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the model; models/NAME unless given.")] = None,
) -> None:
    """Make a shipped pocket model again, from nothing but this package; a stopped training continues."""
    folder = out or Path("models") / name
    make(name, folder, lines(name))
    write_card(folder, name)
    print(folder)


@app.command()
def card(
    folder: Annotated[Path, typer.Argument(help="Folder of a pocket model.")],
    name: Annotated[str, typer.Option(help="Whose recipe made it.")],
    scores: Annotated[Path | None, typer.Option(help="A result store of: ropebench run pocket-card.")] = None,
) -> None:
    """Write the model card of a pocket model."""
    print(write_card(folder, name, Store.open(scores) if scores else None))


def lines(name: str) -> Callable[[int, int, float, float], None]:
    """A reporter of training steps: step, steps, loss in nats per token, tokens per second."""
    shown_at = 0.0

    def report(step: int, steps: int, loss: float, speed: float) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at > SHOWN_SECONDS or step == steps:
            shown_at = time.monotonic()
            words = f"{name} step {step}/{steps} · loss {loss:.3f} nats · {speed:,.0f} tokens/s"
            print(words, file=sys.stderr, flush=True)

    return report


def main(arguments: list[str] | None = None) -> None:
    """What a user can mend is one line and exit code 2."""
    try:
        app(args=arguments, prog_name="python -m harness.pocket")
    except (ValueError, OSError) as error:
        print(f"harness.pocket: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
