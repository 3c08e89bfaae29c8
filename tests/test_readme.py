"""The README's example method and experiment are run as they stand there."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from extenders import base
from extenders.base import RopeSpec
from harness import cli
from harness.experiment import file as experiment

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_method_is_short_and_runs_by_name_in_the_example_experiment(tmp_path: Path) -> None:
    code = block("python")
    assert len(code.strip().splitlines()) <= 20
    (tmp_path / "my_idea.py").write_text(code, encoding="utf-8")
    (tmp_path / "example.yaml").write_text(block("yaml"), encoding="utf-8")
    read = experiment.read(tmp_path / "example.yaml", {})
    assert [method.label for method in read.methods] == ["none", "pi", "yarn", "my_idea"]
    mine = base.load("my_idea", [tmp_path])(target_length=4096)
    rope = RopeSpec(8, 10_000.0, 512, tuple(10_000.0 ** (-i / 4) for i in range(4)))
    assert mine.plan(rope, 4096).rescale_factors(rope) == (1, 1, 8, 8)


def test_the_commands_are_the_makefiles() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", block(""), re.MULTILINE):
        assert f"\n{target}:" in makefile


COMMANDS = re.findall(r"^\.venv/bin/ropebench (.*?)(?: +#.*)?$", README, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_has_its_options(line: str) -> None:
    parsed(line)


def parsed(line: str) -> Any:
    """Options of a command line as its command reads them: what is missing or unknown is refused, nothing runs."""
    name, *words = shlex.split(line)
    commands: Any = typer.main.get_command(cli.app)
    return commands.commands[name].make_context(name, words).params


def test_there_are_commands_and_a_wrong_one_is_seen() -> None:
    assert len(COMMANDS) >= 10
    assert parsed("search longrope2 --model m --target-length 9 --seed 3")["seed"] == [3]
    with pytest.raises(Exception, match="No such option: --sed"):
        parsed("search longrope2 --model m --target-length 9 --sed 3")
