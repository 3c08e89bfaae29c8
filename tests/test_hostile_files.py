"""Files that are damaged or meant to harm: each is one line and exit code 2, soon, and never a traceback.

Each fuzzer has a small form here and a long one marked `full` (5,000 broken files of a kind).
"""

import json
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import synthetic_store as made
from fake_engine import Quiet, experiment
from hostile import mutated, mutated_bytes, mutated_text
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from test_search_stage import SearchEngine, SearchSession, searched

from extenders._factor_file import read_factors
from extenders._plan_file import read_plan_file
from harness import cli
from harness.experiment import file as experiments
from harness.experiment.file import shipped
from harness.experiment.strict_yaml import loads
from harness.forms.reading import contents
from harness.model.files import check_weights, shipped_models
from harness.model.spec import load_config, spec_from_config
from harness.runner.run import run
from harness.seals import SEAL, sealed
from harness.store import Store
from harness.tools.export import export

SECONDS = 10.0  # of processor time; 2 on a machine that does nothing else
SMALL = settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
FULL = settings(SMALL, max_examples=5000)
Fuzzer = Callable[[random.Random], None]


def both(fuzzer: Fuzzer) -> tuple[Callable[[], None], Callable[[], None]]:
    """The small and the long form of a fuzzer."""

    def run(random_: random.Random) -> None:
        started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fuzzer(random_)
        assert time.process_time() - started < SECONDS
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024

    given_random = given(st.integers(0, 2**64).map(random.Random))
    return seed(0)(SMALL(given_random(run))), FULL(given_random(run))


def one_line(call: Callable[[], object]) -> None:
    """The call works, or says in one line why not."""
    try:
        call()
    except (ValueError, OSError) as error:
        assert str(error) and len(str(error).splitlines()) == 1, error


# ---- experiments ----

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{','.join(['*' + before] * 9)}], k{name}: 1}}\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x: !!bool foo", "line 1: the tag '!!bool' means nothing here"),
        ("x: !!int ''", "line 1: the tag '!!int'"),
        ("x: !!float y", "the tag '!!float'"),
        ("x: !!timestamp y", "the tag '!!timestamp'"),
        ("x: !!set {a}", "the tag '!!set'"),
        ("- 1\n- !mine y", "line 2: the tag '!mine'"),
        ("x: !!python/object/apply:os.system [ls]", "the tag '!!python/object/apply:os.system'"),
        ("[" * 5000, "more than 30 lists and mappings stand in one another"),
        ("{a: " * 5000, "more than 30 lists"),
        ("- " * 5000, "more than 30 lists"),
        ("? " * 5000, "more than 30 lists"),
        (BOMB, "more than 20,000 values"),
        (MERGES, "more than 20,000 values"),
        ("&a [*a]", "a value contains itself"),
        ("a: &a {b: *a}", "a value contains itself"),
        ("x: " + "9" * 400, "a number of 400 signs is too long"),
        ("x: " + "9" * 5000, "too long"),
        ("x: 1" + "0" * 18, "more than 18 digits"),
        ("x: 0x" + "f" * 17, "more than 18 digits"),
        ("? [a]\n: 1", "a key must be a word"),
        ("x" * 100_001, "too many"),
    ],
)
def test_what_runs_away_or_breaks_pyyaml_is_one_line(text: str, words: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="^f: ") as caught:
        loads(text, "f")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "value"),
    [("0512", "0512"), ("8:32", "8:32"), ("1:30:00", "1:30:00"), ("-012", "-012"), ("1:30.5", "1:30.5"), ("00", "00")]
    + [("2026-01-01", "2026-01-01"), ("010_000", "010_000"), ("0o17", "0o17")]
    + [("512", 512), ("0", 0), ("-3", -3), ("+4", 4), ("1_000", 1000), ("0x200", 512), ("0b101", 5), ("5e5", 5e5)]
    + [("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1.5e-3", -1.5e-3), (".inf", float("inf")), ("01.5", 1.5)],
)  # fmt: skip
def test_numbers_are_what_they_look_like(text: str, value: object) -> None:
    read = loads(f"x: {text}", "f")["x"]
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("lengths: [0512]", "lengths must be a whole number of at least 1, got '0512'"),
        ("lengths: [8:32]", "got '8:32'"),
        ("target_length: 0o2000", "got '0o2000'"),
        ("model: {}", "model must be a text, got {}"),
        ("model: [pocket-llama]", "model must be a text"),
        ("model: 2026-01-01", "no folder 2026-01-01"),
        ("target_length: 1e400", "must be a whole number"),
        ("name: 'a\\x1b[2J'", "names a folder"),
        (f"name: {'x' * 300}", "names a folder"),
        ("training: {}", "must be a list"),
        ("training: [[]]", "an entry is"),
        ("training_settings: 7", "no training"),
        ("extenders: [{yarn: {beta_fast: [1]}}]", "must be a number"),
        ("extenders: [{longrope: {critical_pair: {}}}]", "critical_pair"),
        ("tests: [{needle: {lengths: {}}}]", "must be a whole number"),
        ("seeds: [1, 1]", "names 1 twice"),
        ("crossing: [fixed]", "crossing is ['fixed']"),
        ("dtype: {}", "dtype is {}"),
    ],
)
def test_wrong_values_of_an_experiment_are_one_line(
    tmp_path: Path, lines: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = lines.partition(":")[0]
    plain = {"model": "pocket-llama", "target_length": 1024, "lengths": [512], "extenders": ["pi"], "tests": ["needle"]}
    given_lines = [f"{name}: {json.dumps(value)}" for name, value in plain.items() if name != key]
    (tmp_path / "wrong.yaml").write_text("\n".join([*given_lines, lines.replace("\\x1b", "\\e")]))
    assert cli.answer(["run", str(tmp_path / "wrong.yaml"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("ropebench: ") and words in told and len(told) < 2000, told
    assert not (tmp_path / "out").exists()


def broken_yaml(rng: random.Random) -> None:
    text = mutated_text(rng.choice([path.read_text(encoding="utf-8") for path in shipped().values()]), rng)
    one_line(lambda: loads(text, "f"))


def broken_experiment(rng: random.Random) -> None:
    path = rng.choice(list(shipped().values()))
    content = mutated(loads(path.read_text(encoding="utf-8"), "f"), rng)
    with_keys = content if isinstance(content, dict) else {"model": content}
    folder = Path("/nowhere")

    def parse() -> None:
        experiments.parse(with_keys, "f", folder, "x")

    one_line(parse)


@pytest.mark.parametrize("fuzzer", [broken_yaml, broken_experiment])
def test_broken_experiments(fuzzer: Fuzzer) -> None:
    both(fuzzer)[0]()


@pytest.mark.full
@pytest.mark.parametrize("fuzzer", [broken_yaml, broken_experiment])
def test_full_broken_experiments(fuzzer: Fuzzer) -> None:
    both(fuzzer)[1]()


# ---- models ----


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    shutil.copytree(tiny_model_folder, folder)
    return folder


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234\n"
INDEX = "model.safetensors.index.json"
WEIGHTS = {
    "a pointer": ("model.safetensors", POINTER, "is a pointer of git-lfs"),
    "nothing": ("model.safetensors", "", "is damaged or was cut off"),
    "a page": ("model.safetensors", "<!doctype html><html>not found</html>", "is damaged or was cut off"),
    "half": ("model.safetensors", None, "is damaged or was cut off"),
    "an index of nothing": (INDEX, "{}", "is no index of weights"),
    "an index that is a list": (INDEX, "[]", "is no index of weights"),
    "an index of lists": (INDEX, '{"weight_map": ["a"]}', "is no index of weights"),
    "an index of numbers": (INDEX, '{"weight_map": {"a": 1}}', "is no index of weights"),
    "an empty index": (INDEX, '{"weight_map": {}}', "is no index of weights"),
    "an index that leads out": (INDEX, '{"weight_map": {"a": "../x.safetensors"}}', "is no index of weights"),
    "an index of other files": (INDEX, '{"weight_map": {"a": "x.safetensors"}}', "x.safetensors is missing"),
    "an index that is cut": (INDEX, '{"weight_map": {"a"', "is no index of weights"),
    "an index that is deep": (INDEX, "[" * 100_000, "is no index of weights"),
    "an index that is a pointer": (INDEX, POINTER, "is a pointer of git-lfs"),
    "a configuration that is a pointer": ("config.json", POINTER, "cannot be read as JSON"),
    "a configuration that is deep": ("config.json", "[" * 100_000, "cannot be read as JSON"),
    "a configuration that is a list": ("config.json", "[]", "holds no configuration"),
}


@pytest.mark.parametrize("words", WEIGHTS)
def test_weights_that_are_not_there_are_one_line(
    tmp_path: Path, tiny_model_folder: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    name, text, reason = WEIGHTS[words]
    file = tmp_path / "model" / name
    if name == INDEX:
        (tmp_path / "model" / "model.safetensors").unlink()  # a whole file would come before those of an index
    file.write_bytes(file.read_bytes()[:-100] if text is None else text.encode())
    lines = "target_length: 128\nlengths: [64]\nextenders: [pi]\ntests: [needle]\nmodel: model\n"
    (tmp_path / "mine.yaml").write_text(lines)
    asked = ["--model", str(tmp_path / "model"), "--target-length", "128"]
    for command in (
        ["run", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")],
        ["search", "abf", *asked, "--budget", "2048", "-p", "fitness=perplexity", "--out", str(tmp_path / "out")],
        ["preflight", "yarn", *asked],
    ):
        assert cli.answer(command) == 2
        told = capsys.readouterr().err
        assert reason in told and told.splitlines()[-1].startswith("ropebench: "), (command, told)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [{"head_dim": 1e30}, {"head_dim": 10**12}, {"head_dim": "8"}, {"head_dim": True}, {"num_hidden_layers": 10**9}]
    + [{"max_position_embeddings": 10**400}, {"vocab_size": -1}, {"hidden_size": []}, {"rope_theta": "x"}]
    + [{"rope_theta": 10**400}, {"rope_parameters": {"rope_type": "default", "rope_theta": 10**400}}]
    + [{"rope_parameters": []}, {"rope_scaling": 7}, {"rope_parameters": {"rope_type": []}}, {"model_type": {}}],
)  # fmt: skip
def test_a_configuration_of_impossible_sizes_is_one_line(
    tmp_path: Path, tiny_model_folder: Path, changes: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    content = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps({**content, **changes}))
    started = time.process_time()
    assert cli.answer(["plan", "yarn", "--model", str(tmp_path / "model"), "--target-length", "128"]) in (0, 2)
    assert time.process_time() - started < 5
    told = capsys.readouterr()
    assert told.out or told.err.startswith("ropebench: ")


def broken_weights(rng: random.Random, folder: Path) -> None:
    source = shipped_models()["pocket-llama"]
    content = (source / "model.safetensors").read_bytes()[:200_000]
    (folder / "model.safetensors").write_bytes(mutated_bytes(content, rng))
    (folder / INDEX).unlink(missing_ok=True)
    if rng.random() < 0.3:
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        index = {"metadata": {}, "weight_map": {"a": "part.safetensors", "b": "part.safetensors"}}
        (folder / INDEX).write_text(json.dumps(mutated(index, rng)), encoding="utf-8", errors="surrogatepass")
    one_line(lambda: check_weights(folder))


def broken_configuration(rng: random.Random, folder: Path) -> None:
    content = json.loads((shipped_models()["pocket-llama"] / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(mutated(content, rng)))
    one_line(lambda: spec_from_config(load_config(str(folder))))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("broken")


@pytest.mark.parametrize("fuzzer", [broken_weights, broken_configuration])
def test_broken_models(place: Path, fuzzer: Callable[[random.Random, Path], None]) -> None:
    both(lambda rng: fuzzer(rng, place))[0]()


@pytest.mark.full
@pytest.mark.parametrize("fuzzer", [broken_weights, broken_configuration])
def test_full_broken_models(place: Path, fuzzer: Callable[[random.Random, Path], None]) -> None:
    both(lambda rng: fuzzer(rng, place))[1]()


# ---- results of searches ----

FOUND = {
    "key": "k", "label": "abf", "status": "done", "error": "", "traceback": "", "loss": 1.0, "held_out": {},
    "held_out_samples": 0, "found": {"base_factor": 20.0}, "rescale_factors": [1.0], "attention_factor": 1.0,
    "cost": {"seconds": 1.0, "token_forwards": 1, "candidates": 1, "evaluations": 1}, "measured_now": 1,
    "identity": {"extender": "abf", "target_length": 1024, "parameters": {"base_factor": None, "budget": 7}},
}  # fmt: skip


def broken_result(rng: random.Random, folder: Path) -> None:
    path = folder / "found.json"
    path.write_text(json.dumps(mutated(FOUND, rng)))
    one_line(lambda: export("abf", {}, "pocket-llama", 1024, search=path))


def test_a_sound_result_is_exported(place: Path) -> None:
    (place / "found.json").write_text(json.dumps(FOUND))
    export("abf", {}, "pocket-llama", 1024, search=place / "found.json")
    with pytest.raises(ValueError, match="has nothing to search|is no searched method|searched for"):
        export("yarn", {}, "pocket-llama", 1024, search=place / "found.json")


def test_broken_results(place: Path) -> None:
    both(lambda rng: broken_result(rng, place))[0]()


@pytest.mark.full
def test_full_broken_results(place: Path) -> None:
    both(lambda rng: broken_result(rng, place))[1]()


DEVICES: dict[str, Callable[[Path], object]] = {
    "a plan": read_plan_file,
    "factors": read_factors,
    "a result": lambda path: export("abf", {}, "pocket-llama", 1024, search=path),
    "what an engine runs": contents,
    "an experiment": experiments.read,
}


@pytest.mark.parametrize("words", DEVICES)
def test_a_device_is_no_file(words: str) -> None:
    """/dev/zero has no end: reading it took all memory."""
    with pytest.raises(ValueError, match="it is no file"):
        DEVICES[words](Path("/dev/zero"))


# ---- losses of searches ----


@pytest.fixture(scope="module")
def searched_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("losses") / "store"
    run(LOSSES, folder, Searches(), Quiet())
    return folder


class Searches(SearchEngine):
    session = SearchSession


LOSSES = experiment(methods=(*experiment().methods, searched()), lengths=(64,), seeds=(0,))


def broken_losses(rng: random.Random, store: Path) -> None:
    """A search that is continued with a file of losses whose lines are broken, with and without a seal."""
    [record] = store.glob("searches/*[0-9a-f].json")
    path = record.with_name(f"{record.stem}.losses.jsonl")
    sound, whole = path.read_bytes(), record.read_bytes()
    lines = [json.loads(line) for line in sound.splitlines()]
    for place in rng.sample(range(len(lines)), rng.randint(1, 3)):
        line = mutated({name: value for name, value in lines[place].items() if name != SEAL}, rng, 3)
        if rng.random() < 0.5 and isinstance(line, dict):
            with suppress(ValueError, TypeError):
                line = sealed(f"losses {record.stem}", line)
        lines[place] = line
    text = "\n".join(json.dumps(line) for line in lines).encode("utf-8", "surrogatepass") + b"\n"
    path.write_bytes(text if rng.random() < 0.7 else mutated_bytes(text, rng))
    record.unlink()
    try:
        outcome = run(LOSSES, store, Searches(), Quiet())
        assert not outcome.failed and not outcome.unsearched
    finally:
        path.write_bytes(sound)
        record.write_bytes(whole)


def test_broken_losses(searched_store: Path) -> None:
    both(lambda rng: broken_losses(rng, searched_store))[0]()


@pytest.mark.full
def test_full_broken_losses(searched_store: Path) -> None:
    both(lambda rng: broken_losses(rng, searched_store))[1]()


# ---- a method that is a file ----

METHOD = """
from dataclasses import dataclass
from extenders.base import Extender, RopePlan
open({ran!r}, "w").close()

@dataclass(frozen=True, kw_only=True)
class Mine(Extender):
    def plan(self, rope, length):
        return RopePlan.rescaled(rope, [2.0] * len(rope.inv_freq))
"""


@pytest.mark.usefixtures("users_methods_here")
@pytest.mark.parametrize("name", ["mine", "mine.py", "ideas/mine.py"])
def test_a_method_that_is_a_file_is_said_to_be_code_and_may_be_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, ran = tmp_path / (name.removesuffix(".py") + ".py"), tmp_path / "ran"
    file.parent.mkdir(exist_ok=True)
    file.write_text(METHOD.format(ran=str(ran)))
    lines = f"target_length: 128\nlengths: [64]\nextenders: [pi, {name}]\ntests: [needle]\nmodel: absent\n"
    (tmp_path / "their.yaml").write_text(lines)
    command = ["run", str(tmp_path / "their.yaml"), "--out", str(tmp_path / "out")]
    assert cli.answer([*command, "--only-shipped"]) == 2
    assert "is code that would run; --only-shipped refuses it" in capsys.readouterr().err and not ran.exists()
    assert cli.answer(command) == 2  # for the model is absent
    assert f"the method {file} is code, and it runs now" in capsys.readouterr().err and ran.exists()


def test_shipped_methods_are_never_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "target_length: 128\nlengths: [64]\nextenders: [pi]\ntests: [needle]\nmodel: absent\n"
    (tmp_path / "mine.yaml").write_text(lines)
    assert cli.answer(["run", str(tmp_path / "mine.yaml"), "--only-shipped"]) == 2
    assert "is code" not in capsys.readouterr().err


# ---- stores ----


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without seals, as before there were any: what has a seal shows every change."""
    folder = tmp_path_factory.mktemp("sound") / "store"
    labels = ("none", "longrope2")
    store = Store.create(folder)
    cells = made.planned(labels, (512, 1024), {"needle": "retrieval"}, 4)
    store.write_run(made.run_content(cells, labels))
    for cell in cells:
        store.put_cell(cell["key"], made.content([made._answer_row(store, cell, i) for i in range(4)]))
    made.with_stages(store)
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text())
        content.pop(SEAL, None)
        path.write_text(json.dumps(content))
    return folder


def broken_store(rng: random.Random, sound: Path, place: Path) -> None:
    folder = place / "store"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    files = sorted(path for path in folder.rglob("*.json*") if path.is_file())
    file = folder / "run.json" if rng.random() < 0.5 else rng.choice(files)
    if file.suffix == ".json" and rng.random() < 0.9:
        file.write_text(json.dumps(mutated(json.loads(file.read_text()), rng, 3)))
    else:
        file.write_bytes(mutated_bytes(file.read_bytes(), rng))
    for command in (["status", str(folder)], ["check", str(folder)], ["compare", str(folder), str(sound)]):
        assert cli.answer(command) in (0, 1, 2)
    if rng.random() < 0.1:
        assert cli.answer(["report", str(folder), "--out", str(place / "report")]) in (0, 1, 2)


@contextmanager
def nothing_beside(place: Path) -> Iterator[None]:
    """Nothing is written beside a store and its report."""

    def others() -> set[Path]:
        ours = (place / "store", place / "report")
        return {path for path in place.parent.rglob("*") if not any(path.is_relative_to(one) for one in ours)}

    before = others()
    yield
    assert others() == before


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.figures.catalogue.FIGURES", ())
    monkeypatch.setattr("reports.figures.style.to_pdf", lambda figure: b"%PDF-")
    monkeypatch.delenv("ROPEBENCH_STRICT_REPORT")


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures")
def test_broken_stores(sound: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with nothing_beside(place):
        both(lambda rng: broken_store(rng, sound, place))[0]()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.usefixtures("without_figures")
def test_full_broken_stores(sound: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with nothing_beside(place):
        both(lambda rng: broken_store(rng, sound, place))[1]()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), float("inf")])
def test_a_number_that_no_float_holds_is_one_line(place: Path, value: float) -> None:
    (place / "found.json").write_text(json.dumps({**FOUND, "found": {"base_factor": value}}))
    with pytest.raises(ValueError, match="base_factor"):
        export("abf", {}, "pocket-llama", 1024, search=place / "found.json")
