"""`ropebench generate`: samples as files, the cache behind them, and scoring by name."""

import json
import shlex
import shutil
from dataclasses import dataclass
from typing import ClassVar

import fakes
import pytest

import tasks.base
import tasks.scoring
from harness.files_on_disk import cache_folder
from harness.prompts import generate as generating
from harness.prompts.cache import PromptCache, copy_lines, prompts_key, sealed
from harness.prompts.generate import command, files_of, generate
from harness.prompts.record import recorded
from tasks.base import Task

OFFLINE = [
    name
    for name in tasks.base.names()
    if not name.startswith("short/") and not getattr(tasks.base.make(name), "missing", "")
]


@pytest.fixture(scope="module")
def byte_folder(tmp_path_factory):
    """A folder with a byte tokenizer and nothing else: no weights, no configuration."""
    folder = tmp_path_factory.mktemp("tokenizer")
    fakes.byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROPEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def made(out, folder, *names, **settings):
    settings = {"model": str(folder), "lengths": [1500], "samples": 3, "say": lambda _: None, **settings}
    return generate(names or ("needle",), out, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFLINE)
def test_every_test_can_be_written_as_prompts(name):
    task = tasks.base.make(name)
    length = 4096 if name.startswith("ruler-") and not name.startswith("ruler-pocket") else 512
    lm = fakes.FakeLM()
    rows = list(task.run(fakes.FakeLM(), length, 0, 2))
    lines = list(recorded(task, lm, length, 0, 2))
    assert len({line["id"] for line in lines}) == 2
    for row, line in zip(rows, lines, strict=True):
        text = line["prompt"] + line.get("scored", "")
        assert text == row.prompt and line["sample"] == row.sample and line["depth"] == row.depth
        assert line["prompt_tokens"] == row.prompt_tokens == len(lm.encode(text)) + 1
        if task.unit == "score":
            said = " ".join(line["references"])
            assert tasks.scoring.score(line["scoring"], said, line["references"], extra=line["extra"]) == 1
            assert tasks.scoring.score(line["scoring"], "", line["references"], extra=line["extra"]) == 0


def test_files(byte_folder, tmp_path):
    [one] = made(tmp_path / "out", byte_folder)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "ropebench_needle_1500.jsonl",
        "ropebench_needle_1500.yaml",
        "utils.py",
    ]
    lines = read(one.file)
    assert [line["sample"] for line in lines] == [0, 1, 2]
    for line in lines:
        assert line["prompt_tokens"] == len(line["prompt"].encode()) + 1, "bytes and BOS"
        assert 1400 < line["prompt_tokens"] + line["new_tokens"] <= 1500
        assert line["references"][0] in line["prompt"]
        assert (line["test"], line["version"], line["scoring"]) == ("needle", 2, "tasks.needle:score")
    again = made(tmp_path / "other", byte_folder, samples=2)
    assert read(again[0].file) == lines[:2]
    assert one.longest == max(line["prompt_tokens"] + line["new_tokens"] for line in lines)
    assert f"max_length={one.longest}" in (tmp_path / "out" / "README.md").read_text()


def test_the_cache_serves_what_it_has_and_less(byte_folder, tmp_path, monkeypatch):
    first = made(tmp_path / "a", byte_folder)
    assert first[0].seconds > 0

    def never(*_):
        raise AssertionError("made again")

    with monkeypatch.context() as patch:
        patch.setattr(generating.Maker, "make", never)
        same, fewer = made(tmp_path / "b", byte_folder), made(tmp_path / "c", byte_folder, samples=2)
        assert same[0].seconds == fewer[0].seconds == 0
        assert same[0].file.read_bytes() == first[0].file.read_bytes()
        assert first[0].file.read_bytes().startswith(fewer[0].file.read_bytes())
        for other in ({"samples": 4}, {"lengths": [1400]}, {"seeds": [1]}, {"parameters": {"depths": 3}}):
            with pytest.raises(AssertionError, match="made again"):
                made(tmp_path / "d", byte_folder, **other)
    more = made(tmp_path / "e", byte_folder, samples=4)
    assert more[0].file.read_bytes().startswith(first[0].file.read_bytes())
    assert len(list((cache_folder() / "prompts").iterdir())) == 1, "the longer file replaces the shorter one"


def test_without_the_cache_nothing_stays(byte_folder, tmp_path, cache):
    [one] = made(tmp_path / "out", byte_folder, cached=False)
    assert len(read(one.file)) == 3 and not cache.exists()
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_keys_cover_what_changes_prompts_and_nothing_else(monkeypatch):
    from harness.prompts import cache as prompt_cache

    task = tasks.base.make("needle")
    keys = [
        prompts_key(task, "a", 512, 0),
        prompts_key(task, "b", 512, 0),
        prompts_key(task, "a", 513, 0),
        prompts_key(task, "a", 512, 1),
        prompts_key(tasks.base.make("needle", depths=3), "a", 512, 0),
        prompts_key(tasks.base.make("passkey"), "a", 512, 0),
    ]
    monkeypatch.setattr(prompt_cache, "code_hash", lambda: "other code")
    keys.append(prompts_key(task, "a", 512, 0))
    assert len(set(keys)) == len(keys)


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    cache = PromptCache(tmp_path)
    lines = ["one\n", "two\n", "three\n"]
    seen = []

    def slow():
        for line in lines:
            yield line
            if not seen:
                seen.append(cache.fill("key", 3, lines).read_text())  # another process, in the middle of ours

    path = cache.fill("key", 3, slow())
    assert seen == ["one\ntwo\nthree\n"] and path.read_text() == "one\ntwo\nthree\n"
    assert cache.find("key", 2) == path and cache.find("key", 4) is None and cache.find("ke", 1) is None


def test_a_failure_leaves_nothing_behind(tmp_path):
    def broken():
        yield "one\n"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        PromptCache(tmp_path).fill("key", 2, broken())
    assert not list((tmp_path / "prompts").iterdir())


def test_copying_the_first_lines(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    lines = [sealed(content) for content in ('{"a":1}', '{"b":"ü\\n"}', '{"c":[]}')]
    source.write_text("".join(lines))
    assert json.loads(lines[1]) == {"check": lines[1][10:26], "b": "ü\n"}
    for count in (1, 2, 3):
        assert copy_lines(source, target, count) and target.read_text() == "".join(lines[:count])
    assert not copy_lines(source, tmp_path / "none", 4)
    source.write_text(lines[0] + lines[1].replace("ü", "u") + lines[2])
    assert copy_lines(source, target, 1) and not copy_lines(source, tmp_path / "none", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_a_damaged_file_of_the_cache_is_made_again(byte_folder, tmp_path):
    [one] = made(tmp_path / "a", byte_folder)
    [path] = (cache_folder() / "prompts").iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:-2000], whole.replace(b"secret", b"public", 1)):
        path.write_bytes(damaged)
        [again] = made(tmp_path / "b", byte_folder)
        assert again.file.read_bytes() == one.file.read_bytes() == whole


def test_a_test_that_fails_costs_only_its_own_files(byte_folder, tmp_path):
    said = []
    outcome = made(tmp_path, byte_folder, "ruler-pocket/niah_single", lengths=[400], samples=1, say=said.append)
    errors = {one.task_file.test: one.error for one in outcome if one.error}
    assert list(errors) == ["ruler-pocket/niah_single_3"], "a uuid and its 48 new tokens need more than 400 bytes"
    assert all("tokens of prompt and has" in error and "\n" not in error for error in errors.values())
    assert [one.file.is_file() for one in outcome if not one.error] == [True, True]
    assert not (tmp_path / "ropebench_ruler_pocket_niah_single_400.yaml").exists()
    assert any("FAILED" in line for line in said)


def test_a_suite_becomes_a_group(byte_folder, tmp_path):
    names = [one.task_file.name for one in made(tmp_path, byte_folder, "ruler-pocket/niah_single", samples=1)]
    text = (tmp_path / "ropebench_ruler_pocket_niah_single_1500.yaml").read_text()
    assert json.dumps(names) in text and "weight_by_size: false" in text


def test_perplexity_is_a_loss_of_the_same_tokens(byte_folder, tmp_path):
    [one] = made(tmp_path, byte_folder, "perplexity", lengths=[200])
    for line in read(one.file):
        assert line["prompt_tokens"] == 200 and line["scored_tokens"] == 198
        assert len((line["prompt"] + line["scored"]).encode()) == 199
    assert "output_type: loglikelihood" in one.file.with_suffix(".yaml").read_text()


@dataclass(frozen=True, kw_only=True)
class Misnamed(Task):
    """Scores by its own rule and names another."""

    new_tokens: ClassVar[int] = 4
    scoring: ClassVar[str] = "tasks.needle:score"  # type: ignore[misc]

    def run(self, lm, length, seed, samples):
        from tasks import text

        made = (text.Sample(f"say {i} and 7", (str(i),), 4) for i in range(samples))
        return text.answer_rows(lm, made, self.new_tokens, lambda said, one: 0.5)


def test_a_wrong_scoring_function_is_found_out():
    with pytest.raises(ValueError, match="scores sample 0 with 1.0 and the test itself with 0.5"):
        list(recorded(Misnamed(), fakes.FakeLM(), 100, 0, 2))


@pytest.mark.parametrize("name", ["os:system", "tasks.base:make", "tasks.text:Sample", "tasks.nothing:score", "score"])
def test_only_scoring_functions_of_ours_are_called(name):
    with pytest.raises(ValueError, match="scoring function"):
        tasks.scoring.score(name, "", ["1"])


@pytest.mark.parametrize(
    ("names", "settings", "line"),
    [
        (["nedle"], {}, "did you mean 'needle'"),
        (["short/gsm8k"], {}, "lm_eval run --tasks gsm8k$"),
        (["short/pocket_facts"], {}, "lm_eval run --tasks pocket_facts --include_path .*pocket$"),
        (["long/longbench_lcc"], {}, "lm_eval run --tasks longbench_lcc"),
        (["needle"], {"parameters": {"dephts": 1}}, "did you mean 'depths'"),
        (["needle"], {"samples": 0}, "must be at least 1"),
        (["needle"], {"lengths": [0]}, "must be at least 1"),
    ],
)
def test_wrong_input_is_one_line(names, settings, line):
    with pytest.raises(ValueError, match=line):
        files_of(names, settings.get("parameters", {}), settings.get("lengths", [512]), [0], settings.get("samples", 1))


def test_more_seeds_of_texts_in_order_are_made_once(tmp_path):
    (tmp_path / "one.txt").write_text("words " * 300)
    given = {"folder": str(tmp_path)}
    assert [job.seed for job in files_of(["perplexity"], given, [512], [0, 1], 1)["perplexity"]] == [0]
    assert [job.seed for job in files_of(["perplexity"], {}, [512], [0, 1], 1)["perplexity"]] == [0, 1]


def test_names_of_files_tell_everything_apart():
    def name(test, seed=0, **parameters):
        return files_of([test], parameters, [512], [seed], 1)[test][0].name

    assert name("ruler-pocket/vt") == "ropebench_ruler_pocket_vt_512"
    names = {name("needle"), name("needle", seed=1), name("needle", depths=3), name("needle", needles=2)}
    assert len(names) == 4 and all(one.replace("_", "").isalnum() for one in names)


def test_a_model_without_a_tokenizer_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="has no tokenizer"):
        made(tmp_path / "out", tmp_path)


def test_the_command(byte_folder, tmp_path, capsys):
    from harness.cli import answer

    words = ["--length", "400", "--samples", "1", "--model", str(byte_folder), "--out", str(tmp_path / "out")]
    assert answer(["generate", "needle", *words]) == 0
    out, err = capsys.readouterr()
    assert "run them with: lm_eval run --model hf" in out and "needle · 400 tokens · 1 samples" in err
    assert answer(["generate", "ruler-pocket/niah_single", *words]) == 1
    assert "1 of 3 could not be made" in capsys.readouterr().err
    assert answer(["generate", "nedle", *words]) == 2
    assert "did you mean 'needle'" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_make_the_same_bytes(byte_folder, tmp_path):
    one = made(tmp_path / "a", byte_folder, "needle", "passkey", cached=False)
    two = made(tmp_path / "b", byte_folder, "needle", "passkey", cached=False, workers=2)
    assert [a.file.read_bytes() for a in one] == [b.file.read_bytes() for b in two]


@pytest.mark.parametrize("name", ["plain", "a folder", "one,two", "a=b", "it's", "[x]", "(y)", "{z}", "été"])
def test_the_command_can_be_pasted_whatever_the_folder_is_called(byte_folder, tmp_path, name):
    """A shell takes it apart, and lm_eval's own reader its model_args, to what was meant."""
    lm_eval = pytest.importorskip("lm_eval._cli.utils")
    place = tmp_path / name
    shutil.copytree(byte_folder, place)
    out = tmp_path / f"out of {name}"
    words = shlex.split(command(made(out, place, "needle", "passkey", "key_value", samples=1), out, str(place)))
    options = dict(zip(words[2::2], words[3::2], strict=True))
    given = lm_eval.try_parse_json(options["--model_args"])
    if isinstance(given, str):
        given = lm_eval.key_val_to_dict(given)
    assert given["pretrained"] == str(place) and given["max_length"] <= 1500
    assert (given["dtype"], given["softmax_dtype"]) == ("float32", "float32")
    assert options["--include_path"] == str(out)
    assert options["--tasks"].split(",") == [f"ropebench_{test}_1500" for test in ("needle", "passkey", "key_value")]
