"""RULER's exact profiles: NVIDIA's own prompts by digest, the naive rule beside every shortcut, and wrong input."""

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import ruler_goldens as goldens
from fake_engine import ROPE, experiment, methods
from fakes import FakeLM
from hypothesis import given
from hypothesis import strategies as st

import tasks.base
from harness.experiment.cells import Base, cells_of
from harness.experiment.file import Test
from reports.numbers import ruler_profiles
from tasks import ruler
from tasks.corpora import words as corpora_words
from tasks.ruler import exact, examples, fetch, scoring, timing, wording
from tasks.ruler.exact import data, fitting, templates, tracking
from tasks.ruler.exact.essays import Essay
from tasks.ruler.exact.keys import WordPairs, drawer, word_pairs
from tasks.token_counts import TokenCounts, counts_of

GOLDENS: dict[str, list[str]] = json.loads(goldens.GOLDENS.read_text())
LONG = 10_000  # tokens; longer goldens are slow


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data of the goldens, and their Punkt model where nltk finds it."""
    import nltk

    place = tmp_path_factory.mktemp("ruler")
    goldens.write_data(place)
    nltk.data.path.insert(0, str(place / "nltk_data"))
    data.punkt.cache_clear()
    yield place
    nltk.data.path.remove(str(place / "nltk_data"))
    data.punkt.cache_clear()


@pytest.fixture(scope="session")
def lm() -> goldens.GoldenLM:
    return goldens.GoldenLM()


@cache
def lm_of(name: str = goldens.OWN) -> goldens.GoldenLM:
    try:
        return goldens.GoldenLM(name)
    except FileNotFoundError:
        pytest.skip(f"the tokenizer {name} is not here ({goldens.TOKENIZERS[name][1]}; folder ${goldens.FOLDER})")


def task_of(version: str, row: str, folder: Path, hard: Sequence[str] = ()) -> exact.RulerExact:
    settings = {name: json.loads(value) for name, _, value in (one.partition("=") for one in hard)}
    return exact.make(f"ruler-{version}/{row}", folder=str(folder) if exact.ROWS[row].file else "", **settings)


@pytest.mark.parametrize(
    "key",
    [pytest.param(key, marks=pytest.mark.slow) if int(key.split()[2]) > LONG else key for key in sorted(GOLDENS)],
)
def test_prompts_are_nvidias_to_the_byte(key: str, folder: Path) -> None:
    """And the length of every one, which was only added up, is the tokenizer's."""
    version, row, length, *more = key.split()
    lm = lm_of(*(one for one in more if "=" not in one))
    task = task_of(version, row, folder, [one for one in more if "=" in one])
    drafts = list(islice(task.drafts(lm, int(length), 0), len(GOLDENS[key])))
    prompts = [draft.build() for draft in drafts]
    assert [goldens.digest(prompt) for prompt in prompts] == GOLDENS[key]
    assert [draft.tokens for draft in drafts] == [len(lm.encode(prompt)) for prompt in prompts]


def test_goldens_cover_the_rows() -> None:
    """What NVIDIA's generator was run for: all rows at 4k, at HEAD the rows without data at all three lengths."""
    local = ["niah_single_1", "niah_multikey_2", "niah_multikey_3", "vt", "fwe", "cwe"]
    wanted = {f"head {row} 4096" for row in exact.ROWS} | {
        f"head {row} {length}" for row in local for length in goldens.SAMPLES
    }
    wanted |= {f"head {row} {length} smollm2" for row in local for length in goldens.SAMPLES}
    wanted |= {f"head {row} 4096 {name}" for row in local for name in ("smollm2", "anthropic", "deepseek")}
    wanted |= {f"paper {row} 4096" for row in (*local[:1], *local[2:], "qa_1", "qa_2")}
    assert not wanted - set(GOLDENS)


HARD = [
    ("vt", {"num_chains": 2, "num_hops": 3}),
    ("cwe", {"freq_cw": 12, "freq_ucw": 2, "num_cw": 5}),
    ("fwe", {"alpha": 3.5}),
    ("niah_single_1", {"num_needle_k": 4, "num_needle_v": 2, "num_needle_q": 2}),
]


def test_rows_with_other_settings_are_no_rows_of_the_13() -> None:
    for row, settings in HARD:
        task = ruler.make(f"ruler-head/{row}", **settings)
        assert task.parameters() == {**exact.make(f"ruler-head/{row}").parameters(), **settings}
        assert task.title == f"ruler-head{''.join(f'+{name}={value}' for name, value in settings.items())}/{row}"
        assert not ruler_profiles.by_profile([(task.title, 4096)])
    same = ruler.make("ruler-head/vt", num_chains=1, num_hops=4)
    assert same == ruler.make("ruler-head/vt") and not same.title


@pytest.mark.parametrize(
    ("row", "settings", "words"),
    [
        ("vt", {"num_hops": 5}, "num_hops must be a whole number in 1 … 4, got 5; NVIDIA's script"),
        ("vt", {"num_chains": 0}, "num_chains must be a whole number in 1"),
        ("vt", {"alpha": 2.0}, "no setting of ruler-head/vt is named 'alpha'; there are num_chains, num_hops"),
        ("vt", {"hops": 2}, "no parameter of ruler-head/vt is named 'hops'"),
        ("fwe", {"alpha": 1}, "alpha must be in 1.01"),
        ("cwe", {"freq_cw": 3}, "common words come more often"),
        ("qa_1", {"num_cw": 3}, "no setting of ruler-head/qa_1"),
        ("niah_single_2", {"num_needle_v": 41}, "hides at most 40 needles"),
        ("niah_single_1", {"num_needle_q": 1.5}, "num_needle_q must be a whole number"),
        ("niah_single_1", {"num_needle_q": True}, "num_needle_q must be a whole number"),
    ],
)
def test_wrong_settings_are_one_line(row: str, settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        ruler.make(f"ruler-head/{row}", **settings)


class Merging:
    """Tokens of five characters wherever they stand: no seam is one, so no sum is right."""

    added_tokens = 0

    def encode(self, text: str) -> list[int]:
        return [0] * -(-len(text) // 5)


@pytest.mark.parametrize("row", ["niah_single_1", "niah_multikey_3", "vt", "cwe", "fwe", "niah_single_2", "qa_1"])
@pytest.mark.parametrize("version", ["head", "paper"])
def test_a_tokenizer_without_seams_is_asked_every_time(version: str, row: str, folder: Path) -> None:
    lm = Merging()
    for draft in islice(task_of(version, row, folder).drafts(lm, 4096, 0), 3):
        assert draft.tokens == len(lm.encode(draft.build()))


class Saving:
    """The longer a text, the fewer tokens a letter: the sums of its parts are too large."""

    added_tokens = 0

    def encode(self, text: str) -> list[int]:
        return [0] * int(9 * len(text) ** 0.6)


@pytest.mark.parametrize("row", ["niah_multikey_3", "cwe", "fwe"])
@pytest.mark.parametrize("version", ["head", "paper"])
def test_sums_that_are_too_large_do_not_decide_the_size(version: str, row: str, folder: Path) -> None:
    lm, task = Saving(), task_of(version, row, folder)
    found, naive = islice(task.drafts(lm, 4096, 0), 2), task._stream(lm, 4096, 0, additive=False)
    for left, right in zip(found, naive, strict=False):
        assert left.build() == right.build() and left.tokens == len(lm.encode(left.build()))


def test_a_token_that_few_prompts_hold_is_noticed(lm: goldens.GoldenLM) -> None:
    """A number that became a token: the sum of the prompt that holds it is wrong, and so were all after it."""
    task = exact.make("ruler-head/niah_multikey_2")
    others = [draft.others for draft in islice(task.drafts(lm, 4096, 0), 4)]
    odd = goldens.GoldenLM()
    odd.tokenizer = type(odd.tokenizer).from_str(odd.tokenizer.to_str())
    odd.tokenizer.add_tokens([sorted(others[3] - others[0] - others[1] - others[2])[0]])
    drafts, naive = islice(task.drafts(odd, 4096, 0), 8), task._stream(odd, 4096, 0, additive=False)
    for draft, right in zip(drafts, naive, strict=False):
        assert draft.build() == right.build()
        assert draft.tokens == len(odd.encode(draft.build()))


@pytest.mark.parametrize("name", ["smollm2", "mistral"])
@pytest.mark.parametrize("row", ["vt", "niah_multikey_3", "cwe", "fwe", "qa_1", "niah_single_2"])
@pytest.mark.parametrize("version", ["head", "paper"])
def test_the_parts_of_a_prompt_add_up_with_tokenizers_that_others_made(
    version: str, row: str, name: str, folder: Path
) -> None:
    """Where they did not, every prompt was tokenised, twice: slower than the original at 128k tokens."""
    lm = lm_of(name)
    for draft in islice(task_of(version, row, folder)._stream(lm, 4096, 1, additive=True), 3):
        assert draft.tokens == len(lm.encode(draft.build()))


@pytest.mark.slow
@pytest.mark.parametrize("row", list(exact.ROWS))
def test_the_sums_decide_as_tokenising_does(row: str, folder: Path, lm: goldens.GoldenLM) -> None:
    """The naive rule, every probe and every sample tokenised, on a length that no golden has and another seed."""
    for version in ("head", "paper"):
        task = task_of(version, row, folder)
        fast, naive = (task._stream(lm, 5000, 3, additive) for additive in (True, False))
        for left, right in islice(zip(fast, naive, strict=False), 4):
            assert left.build() == right.build() and left.tokens == right.tokens


@given(st.lists(st.text("ab-", min_size=1, max_size=4), min_size=1, max_size=9), st.sets(st.text("ab-c", max_size=3)))
def test_word_pairs_are_the_sorted_set_of_all_pairs(adjectives: list[str], nouns: set[str]) -> None:
    pairs = WordPairs(adjectives, sorted(nouns | {"b"}))
    assert list(pairs) == sorted({f"{a}-{n}" for a in adjectives for n in nouns | {"b"}})
    assert pairs[-1] == list(pairs)[-1] and len(pairs) == len(list(pairs))


def test_word_pairs_of_the_real_lists() -> None:
    pairs = word_pairs()
    assert len(pairs) == 6_171_620
    places = sorted(random.Random("places").sample(range(len(pairs)), 3000))
    drawn = [pairs[place] for place in places]
    assert drawn == sorted(set(drawn))
    with pytest.raises(IndexError):
        pairs[len(pairs)]


def test_draws_take_the_same_bits_as_the_originals() -> None:
    import uuid

    left, right = random.Random("u"), random.Random("u")
    for _ in range(50):
        assert drawer("uuids", left)() == str(uuid.UUID(int=right.getrandbits(128), version=4))
        assert drawer("numbers", left)() == str(right.randint(1_000_000, 9_999_999))
        assert drawer("words", left)() == word_pairs()[right.randrange(len(word_pairs()))]


def test_the_splitters_model_is_found_in_a_package_that_carries_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Known before a run begins, and not at its first essay."""
    monkeypatch.setattr("nltk.data.path", [])
    monkeypatch.setattr(data, "_carried_model", lambda: str(tmp_path))
    data.punkt.cache_clear()
    row = tasks.base.make("ruler-head/niah_single_2", folder=str(folder))
    assert "pip install --no-deps llama-index-core" in row.missing
    with pytest.raises(ValueError, match="splits essays by nltk's punkt_tab, which is not here"):
        data.punkt()
    monkeypatch.setattr(data, "_carried_model", lambda: str(folder / "nltk_data"))
    assert row.missing == "" and data.punkt()("It is one. It is two.") == ["It is one.", "It is two."]
    assert "nltk_data" not in str(__import__("nltk").data.path)
    data.punkt.cache_clear()


@pytest.mark.slow
def test_a_cut_essay_has_the_sentences_of_its_own_text(folder: Path) -> None:
    words = re.sub(r"\s+", " ", json.loads((folder / "PaulGrahamEssays.json").read_text())["text"]).split(" ")
    words = words[:6000]
    split = data.punkt()
    for repeats in (True, False):
        essay = Essay(words, split, repeats)
        rng = random.Random("sizes")
        for size in [1, 2, 499, 500, *(rng.randrange(1, 14_000) for _ in range(25)), 6000]:
            text = " ".join((words * 3)[:size] if repeats else words[:size])
            assert essay.sentences(size) == split(text.strip()), size


@given(st.integers(1, 90), st.integers(1, 20), st.integers(40, 900))
def test_bisection_is_the_original_one(per_unit: int, step: int, limit: int) -> None:
    probes: list[int] = []

    def tokens(size: int) -> int:
        probes.append(size)
        return per_unit * size + 7

    found = fitting.head_size(tokens, limit + 30, limit, step)
    low, high, best = step, max(int((limit + 30) / ((per_unit * step + 7) / step) * 3), 2 * step), None
    expected = [step]
    while low <= high:
        middle = (low + high) // 2
        expected.append(middle)
        low, high, best = (middle + 1, high, middle) if per_unit * middle + 7 <= limit else (low, middle - 1, best)
    assert (found, probes) == (best or step, expected)


def test_the_linear_search_overshoots_on_an_exact_hit_as_the_original_does() -> None:
    assert fitting.paper_size(lambda size: size, 100, 10) == 110
    assert fitting.paper_size(lambda size: size, 101, 10) == 100
    assert fitting.paper_size(lambda size: size, 100, 10, most=35) == 35
    assert fitting.paper_size(lambda size: size, 100, 10, most=35, most_is_probed=True) == 35
    seen: list[int] = []
    fitting.paper_size(lambda size: seen.append(size) or size, 100, 10, most=35, most_is_probed=True)
    assert seen == [10, 20, 30, 40]


# Worked by hand from NVIDIA/RULER scripts/eval/synthetic/constants.py and its clean-up: (answer, references, all, part)
ADVERSARIAL = [
    ("1234567 and 7654321", ("1234567", "7654321"), 1, 1),
    ("7654321", ("1234567", "7654321"), 0.5, 1),
    ("12345678", ("1234567", "2345678"), 1, 1),  # both are substrings of one number
    ("1,234,567", ("1234567",), 0, 0),
    ("12345 67", ("1234567",), 0, 0),
    ("VAR ABCDE = VAR FGHIJ", ("abcde", "FGHIJ", "KLMNO"), 2 / 3, 1),
    ("\x00\x1fzebra\tcrossing", ("zebra crossing",), 0, 0),  # the tab becomes a newline
    ("zebra\ncrossing", ("zebra\ncrossing",), 1, 1),
    ("nothing", ("no",), 1, 1),  # "no" of HotpotQA is found inside "nothing"
    ("Not in the documents.", ("no",), 1, 1),
    ("the Eiffel Tower", ("Eiffel tower", "tour Eiffel", "Eiffel"), 2 / 3, 1),
    ("straße", ("STRASSE",), 0, 0),  # lower case, not case folding
    ("İ", ("i",), 1, 1),
    ("0a1B-2", ("0A1b-2",), 1, 1),
    ("\x7f1234567", ("1234567",), 1, 1),
    ("   ", ("1",), 0, 0),
    ("aardvark", ("aardvark", "aardvark"), 1, 1),
]


@pytest.mark.parametrize(("said", "references", "all_", "part"), ADVERSARIAL)
def test_scores_on_adversarial_answers(said: str, references: tuple[str, ...], all_: float, part: float) -> None:
    assert scoring.match_all(said, references) == pytest.approx(all_)
    assert scoring.match_part(said, references) == part


def test_rows_say_true_lengths_depths_and_what_was_confused(lm: goldens.GoldenLM) -> None:
    task = exact.make("ruler-head/niah_multikey_2")
    values: dict[str, str] = {}

    def confused(prompt: str) -> str:
        values[prompt] = re.findall(r"is: (\d{7})\.", prompt)[0]
        return f" {values[prompt]}."

    fake = FakeLM(confused)
    for row in task.run(fake, 4096, 0, 3):
        assert row.prompt_tokens == len(fake.encode(row.prompt)) + fake.added_tokens
        assert row.depth == pytest.approx(row.prompt.index(row.references[0]) / len(row.prompt), abs=1e-4)
        if values[row.prompt] not in row.references:
            assert (row.score, row.failure) == (0, "other needle")
    several = next(exact.make("ruler-head+standin/niah_multivalue").run(FakeLM(), 4096, 0, 1))
    assert len(several.extra["depths"]) == 4 and all(0 < depth < 1 for depth in several.extra["depths"])


class Switching(FakeLM):
    """Another plan beyond 4,096 tokens."""

    def plan_hash(self, length: int) -> str:
        return "within" if length <= 4096 else "beyond"


@pytest.mark.parametrize("name", ["ruler-head/niah_multikey_2", "ruler-head/niah_multikey_3", "ruler-paper/fwe"])
def test_a_prompt_that_bos_makes_too_long_keeps_the_plan_of_the_length(name: str) -> None:
    task = exact.make(name)
    rows = list(task.run(Switching(), 4096, 0, 8))
    assert max(row.prompt_tokens for row in rows) + task.new_tokens > 4096
    assert {row.plan_hash for row in rows} == {"within"}


def test_tracked_names_follow_from_the_value_in_both_profiles(lm: goldens.GoldenLM) -> None:
    for version in ("head", "paper"):
        for draft in islice(exact.make(f"ruler-{version}/vt").drafts(lm, 4096, 0), 3):
            task = draft.build().split(wording.wording().vt_template[:20])[2]
            value = re.search(r"value (\d{5}), they are: $", task)
            assert value is not None
            follows = {old: new for new, old in re.findall(r"VAR ([A-Z]{5}) = (?:VAR )?(\w{5})", task)}
            chain = [value[1]]
            while chain[-1] in follows:
                chain.append(follows[chain[-1]])
            assert tuple(chain[1:]) == draft.references and len(draft.references) == tracking.HOPS + 1


@pytest.mark.slow
def test_rows_that_ask_the_same_under_every_seed_run_with_one(folder: Path, lm: goldens.GoldenLM) -> None:
    for row in exact.ROWS:
        task = task_of("head", row, folder)
        first, second = ([one.references for one in islice(task.drafts(lm, 4096, seed), 3)] for seed in (0, 1))
        assert task.seeded == (first != second), row
    cells = cells_of(
        experiment(tests=(Test("qa", task_of("head", "qa_1", folder), 4),), lengths=(256,), methods=methods("none")),
        Base("w" * 16, ROPE, "float32", "sdpa"),
    )
    assert [cell.seed for cell in cells] == [0]


def test_a_chat_template_goes_round_the_task_and_before_the_prefix(lm: goldens.GoldenLM) -> None:
    said = wording.wording()
    for row, prefix in (("vt", said.vt_prefix[:10]), ("cwe", said.cwe_prefix), ("niah_single_1", " The special magic")):
        prompt = next(exact.make(f"ruler-head/{row}", template="meta-llama3").drafts(lm, 4096, 0)).build()
        assert prompt.startswith("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n")
        ending = prompt.rpartition("<|start_header_id|>assistant<|end_header_id|>\n\n")[2]
        assert ending.startswith(prefix)
    own = exact.make("ruler-head/fwe", template="Q: {task_template} A:")
    assert re.search(r" A: Answer: .+ are:$", next(own.drafts(lm, 4096, 0)).build())


def test_templates_with_sentences_are_read_from_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(wording.CHECKOUT, raising=False)
    with pytest.raises(ValueError, match="template RWKV is read from a checkout of RULER; set ROPEBENCH_RULER"):
        exact.make("ruler-head/vt", template="RWKV")
    (tmp_path / "scripts" / "data").mkdir(parents=True)
    (tmp_path / "scripts" / "data" / "template.py").write_text("Templates = {'RWKV': 'User: {task_template}'}\n")
    monkeypatch.setenv(wording.CHECKOUT, str(tmp_path))
    with pytest.raises(ValueError, match="is not the known one; check out c3f5e3b"):
        exact.make("ruler-head/vt", template="RWKV")
    digest = hashlib.sha256(b"User: {task_template}").hexdigest()[:16]
    monkeypatch.setitem(templates.OF_THE_CHECKOUT, "RWKV", digest)
    assert templates.with_template("RWKV", "x") == "User: x"


def test_the_wording_of_a_checkout_is_read_and_guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, paper = wording.wording("head"), wording.wording("paper")
    assert "assgined" in paper.vt_prefix and "assgined" not in said.vt_prefix
    place = tmp_path / wording.SYNTHETIC
    place.mkdir(parents=True)
    names = {"niah": "niah", "vt": "variable_tracking", "cwe": "common_words_extraction", "qa": "qa"}
    names["fwe"] = "freq_words_extraction"
    table = {
        name: {"template": getattr(said, f"{key}_template"), "answer_prefix": getattr(said, f"{key}_prefix")}
        for key, name in names.items()
    }
    replaced = "\n".join(f"template = template.replace({old!r}, {new!r})" for old, new in said.singular)
    (place / "constants.py").write_text(f"TASKS = {table!r}\n")
    (place / "niah.py").write_text(f"needle = {said.needle!r}\nhaystack = {said.noise!r}\n{replaced}\n")
    (place / "qa.py").write_text(f"DOCUMENT_PROMPT = {said.qa_document!r}\n")
    monkeypatch.setenv(wording.CHECKOUT, str(tmp_path))
    wording.wording.cache_clear()
    try:
        assert wording.wording("head") == said and wording.wording("paper") == paper
        (place / "qa.py").write_text("DOCUMENT_PROMPT = 'Document {i}: {document}'\n")
        wording.wording.cache_clear()
        with pytest.raises(ValueError, match="'qa_document' in .* is not the known one; .*check out c3f5e3b"):
            wording.wording("head")
        monkeypatch.setenv(wording.CHECKOUT, str(tmp_path / "nowhere"))
        wording.wording.cache_clear()
        with pytest.raises(ValueError, match="has no constants.py"):
            wording.wording("head")
    finally:
        monkeypatch.undo()
        wording.wording.cache_clear()


@pytest.mark.parametrize("name", [name for name in exact.names() if not exact.make(name).missing])
def test_a_length_that_holds_no_task_is_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="use a larger length|want at least") as error:
        next(exact.make(name).drafts(FakeLM(), 170, 0))
    assert "\n" not in str(error.value)


def test_wrong_input_is_one_line(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(wording.CHECKOUT, raising=False)
    essay = exact.make("ruler-head/niah_single_2")
    assert not exact.make("ruler-head/vt").missing and "ruler-head+standin/niah_single_2" in essay.missing
    with pytest.raises(ValueError, match="needs RULER's PaulGrahamEssays.json: name the folder"):
        next(essay.run(FakeLM(), 4096, 0, 1))
    for given_, words in (
        ({"folder": str(tmp_path / "none")}, "does not exist"),
        ({"folder": str(tmp_path)}, "has no PaulGrahamEssays.json"),
        ({"folder": str(folder), "file": "x"}, "a folder or a file"),
        ({"template": "no place"}, r"with \{task_template\} once"),
        ({"template": "{task_template} {other}"}, r"with \{task_template\} once"),
        ({"folder": 3}, "folder must be a text"),
        ({"fold": "x"}, "is named 'fold'; did you mean 'folder'"),
    ):
        with pytest.raises(ValueError, match=words):
            ruler.make("ruler-head/niah_single_2", **given_)
    with pytest.raises(ValueError, match="takes no data"):
        ruler.make("ruler-head+standin/qa_1", folder=str(folder))
    with pytest.raises(ValueError, match="needs no file"):
        ruler.make("ruler-head/vt", file="x")
    bad = tmp_path / "squad.json"
    for content, words in (
        ("version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("{", "is not JSON"),
        ('{"data": [{}]}', "does not have the shape of SQuAD"),
    ):
        bad.write_text(content)
        data._library.cache_clear()
        with pytest.raises(ValueError, match=words):
            next(ruler.make("ruler-head/qa_1", file=str(bad)).run(FakeLM(), 4096, 0, 1))


def test_more_words_than_the_list_has_need_the_file(folder: Path) -> None:
    class OneEach:
        added_tokens = 0

        def encode(self, text: str) -> list[str]:
            return re.findall(r" ?[^\s.]+\.?|\n", text)

    with pytest.raises(ValueError, match="english_words.json"):
        next(exact.make("ruler-head/cwe").drafts(OneEach(), 65_536, 0))
    found = next(exact.make("ruler-head/cwe", folder=str(folder)).drafts(OneEach(), 65_536, 0))
    assert 60_000 < found.tokens <= 65_536 - 120


def test_questions_are_asked_once(tmp_path: Path, folder: Path) -> None:
    content = json.loads((folder / "hotpotqa.json").read_text())
    few = tmp_path / "hotpotqa.json"
    few.write_text(json.dumps(content[:3]))
    rows = exact.make("ruler-head/qa_2", file=str(few)).run(FakeLM(), 4096, 0, 4)
    with pytest.raises(ValueError, match="holds 3 questions"):
        list(rows)


def test_a_prompt_beyond_the_length_is_refused() -> None:
    task = exact.make("ruler-head/vt")
    draft = fitting.Draft(4067, 4067, lambda: "x", ("y",))
    with pytest.raises(ValueError, match="it is not cut, use a larger length"):
        task.sample(draft, 4096)
    assert exact.make("ruler-paper/fwe").overhang == 50 and task.overhang == 0


def test_names_and_standins() -> None:
    assert len(tasks.base.expand("ruler-head")) == len(tasks.base.expand("ruler-paper")) == 13
    assert set(tasks.base.expand("ruler-head")) == {f"ruler-head/{row}" for row in exact.ROWS}
    needs = ["niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multivalue", "niah_multiquery"]
    assert set(tasks.base.expand("ruler-head+standin")) == {
        f"ruler-head+standin/{row}" for row in [*needs, "cwe", "qa_1", "qa_2"]
    }
    assert len(tasks.base.expand("ruler-pocket")) == 13
    task = exact.make("ruler-head/vt")
    assert (task.default_samples, task.standin, exact.make("ruler-head+standin/qa_1").standin) == (500, False, True)
    assert task.version == 2 and exact.make("ruler-paper/vt").version == 3
    assert ruler.make("ruler-pocket/vt").version == 1


def test_the_file_counts_by_its_content(tmp_path: Path, folder: Path) -> None:
    from harness.experiment.cells import task_identity

    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "squad.json").write_bytes((folder / "squad.json").read_bytes())
    one, two = (task_identity(exact.make("ruler-head/qa_1", folder=str(place))) for place in (folder, other))
    assert one == two and "content-" in one["parameters"]["file"]
    assert task_identity(exact.make("ruler-head/qa_1")) != one
    assert task_identity(exact.make("ruler-head/vt", folder=str(folder))) == task_identity(exact.make("ruler-head/vt"))


def test_fetched_files_have_rulers_shape() -> None:
    rows = [
        {"id": "1", "title": "A", "context": "c1", "question": "q1", "answers": {"text": ["x", "x"]}},
        {"id": "2", "title": "A", "context": "c1", "question": "q2", "answers": {"text": []}},
        {"id": "3", "title": "A", "context": "c2", "question": "q3", "answers": {"text": ["y"]}},
        {"id": "4", "title": "B", "context": "c0", "question": "q4", "answers": {"text": ["z"]}},
    ]
    library = data.squad(fetch.squad_file(rows))
    assert library.documents == ("c0", "c1", "c2")
    assert [(q.query, q.outputs, q.context, q.more) for q in library.questions] == [
        ("q1", ("x", "x"), (1,), (2,)), ("q3", ("y",), (2,), (1,)), ("q4", ("z",), (0,), ()),
    ]  # fmt: skip
    row = {
        "id": "1", "question": "q", "answer": "a", "supporting_facts": {"title": ["T"], "sent_id": [0]},
        "context": {"title": ["S", "T"], "sentences": [["s1 ", "s2"], ["t"]]},
    }  # fmt: skip
    library = data.hotpot(fetch.hotpot_file([row]))
    assert library.documents == ("S\ns1 s2", "T\nt") and library.questions[0].gold == (1,)


def test_counts_of_values_are_the_tokenizers(lm: goldens.GoldenLM) -> None:
    counts = counts_of(lm)
    assert counts is counts_of(lm) and counts.digits_alike
    uneven = TokenCounts(lambda text: re.findall(r"\s?[a-z]+|12|\s?\d|.", text))
    assert not uneven.digits_alike
    rng = random.Random("values")
    for kind in ("numbers", "uuids", "words"):
        values = [drawer(kind, rng)() for _ in range(300)]
        for counted in (counts, uneven):
            expected = counted.whole("x " + " ".join(values)) - counted.whole("x")
            assert counted.values(values, kind == "words") == expected
    for counted in (counts, uneven):
        assert counted.numbering(4, 1203) == counted.after("x", "".join(f" {i}." for i in range(4, 1204)))


@pytest.mark.parametrize("name", [goldens.OWN, "smollm2", "mistral"])
def test_every_word_of_a_key_is_counted_right(name: str) -> None:
    """The sum for tam-o'-shanter was one too high with SmolLM2's tokenizer, in every second prompt of 128k tokens."""
    counts = TokenCounts(lm_of(name).encode)
    known, rest = counts.values(["red-cat"], True), counts.whole("x for red-cat: is")
    keys = [f"{adjective}-cat" for adjective in sorted(set(corpora_words.words("adjective")))]
    keys += [f"red-{noun}" for noun in sorted(set(corpora_words.words("noun")))]
    wrong = [key for key in keys if counts.values([key], True) - known != counts.whole(f"x for {key}: is") - rest]
    assert not wrong


def test_costs_are_measured(lm: goldens.GoldenLM) -> None:
    measured = list(timing.costs(lm, [4096], 1))
    assert [cost.name.rpartition("/")[2] for cost in measured] == list(exact.ROWS)
    assert all(cost.sample < 1 and cost.whole > 0 for cost in measured)


PAGE = Path(__file__).parent.parent / "docs" / "ruler.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == examples.page(), (
        "write it anew: python -m tasks.ruler.examples > docs/ruler.md"
    )
