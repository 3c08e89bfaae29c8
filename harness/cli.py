"""The command line. Nothing heavy is imported before a command needs it, so --help answers at once.

Exit codes: 0 done, 1 some cells failed, 2 wrong input (one line says what), 130 stopped by Ctrl-C, 141 its
reader was gone before the answer was out.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from harness import __version__, signals
from harness.commands import catalogue, methods, models, runs, stores, workers
from harness.commands.terminal import ARGUMENTS, command_line, one_line

app = typer.Typer(
    name="ropebench",
    help="Compare ways to extend the context window of a RoPE language model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS: Mapping[str, tuple[Callable[..., None], ...]] = {  # by panel of --help
    "Experiments": (
        runs.run,
        workers.worker,
        runs.status,
        runs.check,
        runs.report,
        runs.rescore,
        runs.compare,
        stores.merge,
        stores.compare_stores,
        runs.generate,
    ),
    "Methods": (methods.plan, methods.preflight, methods.search, methods.search_study, methods.export, methods.import_),
    "Models": (models.train, models.bench, models.lm_eval),
    "What there is": (catalogue.list_, catalogue.published, catalogue.doctor),
}
# Words of a command that are another program's.
PASSED_ON = {"lm-eval": {"allow_extra_args": True, "ignore_unknown_options": True}}
# A closed pager has seen what it wanted.
READS_ONLY = {"list", "published", "doctor", "status", "plan", "compare-stores", "--help"}
# What was stopped continues when asked again.
GOES_ON = {"run", "train", "search", "search-study", "compare", "generate"}


def interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """The command, whose interruption typer would answer without a word."""

    @wraps(command)
    def inside(**given: Any) -> None:
        try:
            command(**given)
        except KeyboardInterrupt:
            raise typer.Abort from None

    return inside


for panel, commands in COMMANDS.items():
    for command in commands:
        name = command.__name__.rstrip("_").replace("_", "-")
        app.command(name, rich_help_panel=panel, context_settings=PASSED_ON.get(name))(interruptible(command))


def show_version(asked: bool) -> None:
    if asked:
        print(f"ropebench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    show_traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error came from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=show_version)
    ] = False,
) -> None:
    if show_traceback:
        os.environ["ROPEBENCH_TRACEBACK"] = "1"


def leave_out_working_folder() -> None:
    """`python -m harness.cli` puts the working folder first on Python's path: a tasks.py or reports.py that lies there
    is the user's, and would be run instead of ours. The command `ropebench` never has it there."""
    here = os.path.realpath(sys.path[0] or os.getcwd())
    ours = Path(__file__).resolve().parents[1]
    if here == os.path.realpath(os.getcwd()) and Path(here) != ours:
        del sys.path[0]


def main(arguments: list[str] | None = None) -> None:
    """Entry point. What a user can mend is one line and exit code 2; everything else is a bug and shows itself."""
    leave_out_working_folder()
    sys.exit(answer(sys.argv[1:] if arguments is None else arguments))


def answer(arguments: list[str]) -> int:
    """The exit code of a command line."""
    signals.end_with_parent()
    with signals.restored():
        return _answered(arguments)


def _answered(arguments: list[str]) -> int:
    ARGUMENTS[:] = arguments
    try:
        code = app(args=arguments, prog_name="ropebench", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.Exit as exit_:
        return exit_.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _stopped(arguments)
    except SystemExit as error:  # no command of ours ends so: something that it called did
        if isinstance(error.__context__, BrokenPipeError):  # typer makes this of it
            return _pager_closed(arguments)
        print(f"ropebench: ended from inside (SystemExit: {error}) before it was done", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return _pager_closed(arguments)
    except Exception as error:
        if signals.asked():
            return _stopped(arguments)
        usage = getattr(error, "format_message", None)  # a wrong option or argument
        if usage is None and not isinstance(error, ValueError | OSError):
            raise
        if os.environ.get("ROPEBENCH_TRACEBACK", "0") not in ("", "0"):
            traceback.print_exc()
        line = usage() if usage is not None else str(error) or type(error).__name__
        print(f"ropebench: {one_line(line)}", file=sys.stderr)
        return 2


def _pager_closed(arguments: list[str]) -> int:
    """Whoever read our lines wants no more of them: no error where nothing else was to be done."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for what is flushed at the end
    os.dup2(sys.stdout.fileno(), 1)
    return 0 if READS_ONLY.intersection(arguments[:1]) else 141


def _stopped(arguments: list[str]) -> int:
    again = f"; this command continues: {command_line()}" if GOES_ON.intersection(arguments[:1]) else ""
    if signals.PARENT not in os.environ:  # the first process says it
        print(f"ropebench: stopped{again}", file=sys.stderr)
    return signals.STOPPED


if __name__ == "__main__":
    main()
