"""One rule for naming a method, in every command and in an experiment file: a name, or a path that ends in .py."""

import json
from pathlib import Path

import pytest
from test_cli import refused
from test_experiment import METHOD

import extenders
from harness import cli
from harness.experiment import file as experiment
from harness.experiment.file import Method
from harness.experiment.preset import preset_experiment
from harness.tools import preflight

SEARCHED = (Path(extenders.__file__).parent / "abf.py").read_text(encoding="utf-8")


@pytest.fixture
def ideas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a method, a searched method and what is none, in a folder that no lookup by name sees."""
    monkeypatch.chdir(tmp_path)
    for name, source in (("mine", METHOD), ("tuned", SEARCHED), ("nothing", "x = 1\n"), ("yarn", METHOD)):
        path = tmp_path / "ideas" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
    (tmp_path / "ideas" / "folder.py").mkdir()
    (tmp_path / "ideas" / "two-words.py").write_text(METHOD)
    return tmp_path


COMMANDS = {
    "plan": "plan {} --model {} --target-length 128",
    "preflight": "preflight {} --model {} --target-length 128",
    "export": "export {} --model {} --target-length 128",
    "search": "search {} --model {} --target-length 128 --budget 2048 -p fitness=perplexity",
    "train": "train {} --model {} --target-length 128 --recipe plain --tokens 256 --set corpus=stories "
    "--set tokens_per_step=256",
    "bench": "bench --extender {} --model {} --length 32 --pairs 1",
    "compare": "compare none {} --preset ci --model {}",
}


def words(command: str, method: str, model: Path) -> list[str]:
    return COMMANDS[command].format(method, model).split()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("ideas/absent.py", "ideas/absent.py does not exist; give a .py file, or a name without .py"),
        ("ideas/folder.py", "ideas/folder.py is a folder"),
        ("ideas/nothing.py", "must define exactly one Extender, found 0"),
        ("ideas/two-words.py", "name the file with letters, digits and _"),
        ("ideas/yarn.py", "has the name of a shipped method; rename the file"),
        ("yarm", "did you mean 'yarn'?"),
    ],
)
def test_what_is_no_method_is_one_line(
    ideas: Path, tiny_model_folder: Path, command: str, method: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in refused(words(command, method, tiny_model_folder), capsys)


def test_plan_and_export_take_a_file(ideas: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = words("plan", "ideas/mine.py", tiny_model_folder)
    assert cli.answer([*asked, "-p", "split=0.25", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["extender"] == "mine" and content["parameters"] == {"split": 0.25}
    assert set(content["planned"]["rescale_factors"]) == {1.0, 2.0}
    assert "did you mean 'split'?" in refused([*asked, "-p", "spilt=0.25"], capsys)
    assert cli.answer(words("export", "ideas/mine.py", tiny_model_folder)) == 0
    assert set(json.loads(capsys.readouterr().out)["rope_parameters"]["long_factor"]) == {1.0, 2.0}


def test_preflight_and_bench_take_a_file(
    ideas: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examined: list[Method] = []
    monkeypatch.setattr(
        preflight, "examine", lambda loaded, method, budget: examined.append(method) or preflight.Preflight({}, ())
    )
    assert cli.answer(words("preflight", "ideas/mine.py", tiny_model_folder)) == 0
    assert [(method.label, method.extender.target_length) for method in examined] == [("mine", 128)]
    assert cli.answer(words("bench", "ideas/mine.py", tiny_model_folder)) == 0
    assert "prefill" in capsys.readouterr().out


def test_a_search_of_a_file_says_how_to_use_what_it_found(
    ideas: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = words("search", "ideas/tuned.py", tiny_model_folder)
    assert cli.answer(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tuned: ")
    [entry] = [line.partition("extenders: ")[2] for line in lines if "use it in" in line]
    assert entry.startswith(f"[{{{ideas / 'ideas' / 'tuned.py'}: {{")
    [path] = [line.strip() for line in lines if line.endswith(".json")]
    assert cli.answer([*words("export", "ideas/tuned.py", tiny_model_folder), "--found", path]) == 0


def test_train_takes_a_file(ideas: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.answer(words("train", "ideas/mine.py", tiny_model_folder)) == 0
    assert "trained: results/train/trainings/" in capsys.readouterr().out


def test_a_path_in_an_experiment_is_relative_to_its_file(ideas: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {
        "model": "pocket-llama", "target_length": 4096, "lengths": [512], "tests": ["needle"],
        "extenders": ["none", {"ideas/mine.py": {"split": 0.25}}, {"ideas/mine.py": {"label": "half"}}],
    }  # fmt: skip
    monkeypatch.chdir("/")
    methods = experiment.parse(content, "x", ideas).methods
    assert [method.label for method in methods] == ["none", "mine", "half"]
    assert methods[1].extender.parameters() == {"split": 0.25} and methods[1].extender.name == "mine"
    with pytest.raises(ValueError, match="x: extenders: the file of a method .*absent.py does not exist"):
        experiment.parse({**content, "extenders": ["ideas/absent.py"]}, "x", ideas)


def test_a_preset_takes_files_from_the_working_folder(ideas: Path) -> None:
    plan = preset_experiment("ci", "none", "ideas/mine.py")
    assert [method.label for method in plan.methods] == ["none", "mine"] and plan.name == "ci-none-mine"
