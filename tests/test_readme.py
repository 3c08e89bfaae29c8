"""The README's example method and experiment are run as they stand there; commands of all documents are read."""

import contextlib
import io
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

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]]
PAGES += [page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*/README.md"))]


def blocks(language: str, text: str = README) -> list[str]:
    """Contents of the code blocks of a page in this language, in their order."""
    every = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [content for name, content in every if name == language]


def block(language: str, holding: str = "") -> str:
    """The first block of the README that holds these words."""
    return next(content for content in blocks(language) if holding in content)


def test_the_example_method_is_short_and_runs_by_name_in_the_example_experiment(tmp_path: Path) -> None:
    code = block("python", "Extender")
    assert len(code.strip().splitlines()) <= 20
    (tmp_path / "my_idea.py").write_text(code, encoding="utf-8")
    (tmp_path / "example.yaml").write_text(block("yaml"), encoding="utf-8")
    read = experiment.read(tmp_path / "example.yaml", {})
    assert [method.label for method in read.methods] == ["none", "pi", "yarn", "my_idea"]
    mine = base.load("my_idea", [tmp_path])(target_length=4096)
    rope = RopeSpec(8, 10_000.0, 512, tuple(10_000.0 ** (-i / 4) for i in range(4)))
    assert mine.plan(rope, 4096).rescale_factors(rope) == (1, 1, 8, 8)


@pytest.mark.slow
def test_the_lines_of_python_print_what_stands_below_them() -> None:
    code = block("python", "import ropebench")
    assert len([line for line in code.splitlines() if line]) == 5
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == block("text")


def test_the_commands_are_the_makefiles() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", block(""), re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        assert f"\n{target}:" in makefile


def commands(text: str) -> list[str]:
    """Command lines of ropebench in a page's code blocks, without their comments."""
    return re.findall(r"^(?:\.venv/bin/)?ropebench +(.*?)(?: +#.*)?$", "\n".join(blocks("", text)), re.MULTILINE)


COMMANDS = list(dict.fromkeys(line for page in PAGES for line in commands(page)))


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_has_its_options(line: str) -> None:
    parsed(line)


def parsed(line: str) -> Any:
    """Options of a command line as its command reads them: what is missing or unknown is refused, nothing runs."""
    name, *words = shlex.split(line)
    group: Any = typer.main.get_command(cli.app)
    return group.commands[name].make_context(name, words).params


def test_there_are_commands_and_a_wrong_one_is_seen() -> None:
    assert len(COMMANDS) >= 20
    assert len(commands(README)) >= 4
    assert parsed("search longrope2 --model m --target-length 9 --seed 3")["seed"] == [3]
    with pytest.raises(Exception, match="No such option: --sed"):
        parsed("search longrope2 --model m --target-length 9 --sed 3")
