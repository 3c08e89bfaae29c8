"""The study of search procedures on a fake model: resumable, paired, and its table says what was measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_engine import Quiet
from fakes import FakeLM
from scipy.stats import t
from test_search_stage import SearchEngine, SearchSession

from extenders.search.problem import HELD_OUT
from harness.files_on_disk import held
from harness.search.texts import SearchTexts, wording_of
from harness.tools import study as search_study
from harness.tools.study import procedures, study
from reports.numbers.search_study import StudyContent, files, markdown, own_mean, summary
from reports.statistics.seeds import difference_of_searches

pytestmark = pytest.mark.slow  # seconds each, or many


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[SearchEngine]:
    made: list[SearchEngine] = []

    def engine(*_: Any, **__: Any) -> SearchEngine:
        made.append(SearchEngine())
        return made[-1]

    monkeypatch.setattr(search_study, "LocalEngine", engine)
    return made


ROWS = ("fast, a tenth", "ntk_rcd, a tenth", "released code")


def studied(target: int, folder: Path, reference: str | None = None, **more: Any) -> StudyContent:
    """A study and its files, as the command line makes them."""
    content = summary(study("fake", target, folder, Quiet(), reference=reference, **more), reference)
    for name, text in files(content).items():
        (folder / name).write_text(text)
    return content


def run(folder: Path) -> StudyContent:
    return studied(256, folder, forwards=150, seeds=(0, 1), texts=6, samples=4, only=ROWS)


def test_a_second_study_in_the_folder_is_refused(tmp_path: Path, engines: list[SearchEngine]) -> None:
    with held(tmp_path / "study.lock", "it"), pytest.raises(ValueError, match="the study in .* is in use by process"):
        run(tmp_path)
    assert engines[0].opened == 0


def test_a_study_compares_on_texts_that_no_search_has_seen(tmp_path: Path, engines: list[SearchEngine]) -> None:
    content = run(tmp_path)
    rows = {line["row"]: line for line in content["rows"]}
    assert set(rows) == {*ROWS, *search_study.CLOSED, "flat"}
    fast, released = rows["fast, a tenth"], rows["released code"]
    assert fast["seeds"] == [0, 1] and len(fast["critical_pairs"]) == 2
    assert fast["token_forwards"] <= 15 * 256 < released["token_forwards"] <= 150 * 256
    assert fast["behind_reference"] is None and len(fast["losses_of_texts"]) == 6
    assert fast["loss"] == pytest.approx(sum(fast["losses_of_seeds"]) / 2)
    results = [json.loads(one.read_text()) for one in (tmp_path / "searches").glob("*[0-9a-f].json")]
    own = [one["loss"] for one in sorted(results, key=lambda one: one["label"]) if one["label"].startswith("fast")]
    assert fast["losses_on_own_texts"] == own and own_mean(fast) == pytest.approx(sum(own) / 2)
    assert own_mean(rows["yarn"]) is None
    gap = sum(a - b for a, b in zip(released["losses_of_texts"], fast["losses_of_texts"], strict=True)) / 6
    mean, low, high = released["behind_reference"]
    assert mean == pytest.approx(gap) and low <= mean <= high
    table = (tmp_path / "table.md").read_text()
    assert (
        table == markdown(content)
        and "6 texts; intervals are over texts and search seeds" in table
        and "reference is the row 'fast, a tenth'" in table
        and "| ntk_rcd, a tenth |" in table
    )
    assert (tmp_path / "table.csv").read_text().count("\n") == len(rows) + 1


def test_a_study_goes_on_where_it_stopped(
    tmp_path: Path, engines: list[SearchEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole")
    monkeypatch.setattr(SearchSession, "stop_after", 20)
    for _ in range(3):  # every sitting ends early
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts")
    [name] = [one.name for one in (tmp_path / "whole").glob("held-out.*.jsonl")]  # by weights and dtype
    losses = tmp_path / "parts" / name
    with losses.open("a") as file:
        file.write('["0')
    monkeypatch.setattr(SearchSession, "stop_after", None)
    parts = run(tmp_path / "parts")
    for content in (whole, parts):
        for line in content["rows"]:
            line.pop("seconds", None)
    assert parts == whole
    before = losses.read_bytes()
    again = json.loads(json.dumps(run(tmp_path / "parts")))
    assert losses.read_bytes() == before
    assert again["rows"][0]["loss"] == whole["rows"][0]["loss"]


def test_losses_of_another_target_length_are_kept_apart(tmp_path: Path, engines: list[SearchEngine]) -> None:
    """The plan of `none` is the same at both, and its losses are not: texts have other lengths."""

    def none(target: int, folder: Path) -> Any:
        content = studied(target, folder, forwards=20, seeds=(0,), texts=2, only=("ntk_rcd, a tenth",))
        return {line["row"]: line["losses_of_texts"] for line in content["rows"]}["none"]

    short, long = none(256, tmp_path / "both"), none(512, tmp_path / "both")
    assert short != long == none(512, tmp_path / "alone")


def test_procedures_have_the_budgets_that_they_are_compared_at() -> None:
    rows = {row.name: row for row in procedures(14080)}
    assert rows["fast, a tenth"].forwards == rows["yarn_tuned, a tenth"].forwards == 1408
    assert rows["fast"].forwards == rows["released code"].forwards == rows["paper"].forwards == 14080
    usual = [row.forwards for row in procedures(500) if not row.only_named]
    assert usual == sorted(usual) and procedures(500)[0].name == "fast, a tenth"  # what a table compares with
    full = procedures(500)[-2:]
    assert [row.forwards for row in full] == [14080, 14080] and all(row.name.endswith("full size") for row in full)
    official = [{key: value for key, value in row.parameters.items() if key != "search_samples"} for row in full]
    assert official == [dict(rows[name].parameters) for name in ("released code", "paper")]


def test_the_table_shows_all_rows_and_seeds_that_were_searched(tmp_path: Path, engines: list[SearchEngine]) -> None:
    def seeds(only: str, *wanted: int) -> dict[str, list[int]]:
        content = studied(256, tmp_path, forwards=150, seeds=wanted, texts=2, samples=4, only=(only,))
        return {line["row"]: line["seeds"] for line in content["rows"] if line["seeds"]}

    assert seeds("fast, a tenth", 0, 1) == {"fast, a tenth": [0, 1]}
    assert seeds("released code", 30) == {"fast, a tenth": [0, 1], "released code": [30]}
    assert seeds("fast, a tenth", 0) == {"fast, a tenth": [0, 1]}  # seed 30 lies beyond those that are looked for


def test_any_row_can_be_what_others_are_compared_with(tmp_path: Path, engines: list[SearchEngine]) -> None:
    def gaps(reference: str | None) -> dict[str, Any]:
        content = studied(256, tmp_path, reference, forwards=150, seeds=(0, 1), texts=6, samples=4, only=ROWS[:2])
        return {line["row"]: line["behind_reference"] for line in content["rows"]}

    usual, other = gaps(None), gaps("ntk_rcd, a tenth")
    assert usual["fast, a tenth"] is None and other["ntk_rcd, a tenth"] is None
    mean, low, high = usual["ntk_rcd, a tenth"]
    assert other["fast, a tenth"] == pytest.approx([-mean, -high, -low])
    assert gaps("yarn")["yarn"] is None
    with pytest.raises(ValueError, match=r"no finished row 'paper' to compare with; it has fast, a tenth, ntk_rcd"):
        gaps("paper")
    with pytest.raises(ValueError, match=r"no row of the study is named 'papers'"):
        gaps("papers")


def test_losses_by_wording_and_on_texts_that_no_claim_was_made_on(tmp_path: Path, engines: list[SearchEngine]) -> None:
    more: Any = {"forwards": 20, "seeds": (0, 1), "only": ("ntk_rcd, a tenth",)}
    whole = studied(256, tmp_path, texts=10, **more)["rows"][0]
    later = studied(256, tmp_path, texts=6, first_text=4, **more)
    assert later["rows"][0]["losses_of_texts"] == whole["losses_of_texts"][4:] and later["first_text"] == 4
    assert "6 texts from number 4 on" in markdown(later)
    rulers, ours = whole["by_wording"]["RULER's"], whole["by_wording"]["ours"]
    assert rulers["loss"] == pytest.approx(sum(whole["losses_of_texts"][0::2]) / 5)
    assert ours["loss"] == pytest.approx(sum(whole["losses_of_texts"][1::2]) / 5)
    content = studied(256, tmp_path, texts=10, **more)
    yarn = next(line for line in content["rows"] if line["row"] == "yarn")
    behind = [yarn["by_wording"][name]["behind_reference"] for name in ("RULER's", "ours")]
    means = [gap[0] if gap else 0.0 for gap in behind]
    assert yarn["behind_reference"] and sum(means) / 2 == pytest.approx(yarn["behind_reference"][0])
    with pytest.raises(ValueError, match="needs a held-out text at least"):
        studied(256, tmp_path, texts=0, **more)


def test_wordings_take_turns() -> None:
    lm: Any = FakeLM()
    made = SearchTexts(lm, 256, "needle", 1)
    for sample in (0, 1, HELD_OUT, HELD_OUT + 1):
        assert ("special magic" in made[sample].text) == (wording_of(sample) == "RULER's")


def test_differences_are_paired_by_text() -> None:
    shared = [5.0, 1.0, 9.0, 3.0] * 8
    gap = difference_of_searches([[value + 0.5 for value in shared]], [shared])
    assert gap == pytest.approx((0.5, 0.5, 0.5))
    assert difference_of_searches([[1.0, float("inf")]], [[1.0, 1.0]]) is None


def test_differences_know_texts_and_seeds_by_hand() -> None:
    """Gaps of texts 1, 2, 3, of seeds 1.5 and 2.5: variance 1/3 of texts, 0.5/2 of seeds."""
    gap = difference_of_searches([[0.5, 1.5, 2.5], [1.5, 2.5, 3.5]], [[0.0, 0.0, 0.0]])
    assert gap is not None and gap[0] == 2.0
    freedom = (7 / 12) ** 2 / ((1 / 3) ** 2 / 2 + (1 / 4) ** 2 / 1)
    assert gap[2] - 2 == pytest.approx(t.ppf(0.975, freedom) * (7 / 12) ** 0.5) == pytest.approx(2 - gap[1])
    back = difference_of_searches(
        [[0.0, 0.0, 0.0]], [[0.5, 1.5, 2.5], [1.5, 2.5, 3.5]]
    )  # the reference's seeds count as well
    assert back == pytest.approx((-gap[0], -gap[2], -gap[1]))
    assert difference_of_searches([[0.5]], [[0.0]]) is None  # one text, one seed: nothing is known


def test_intervals_of_differences_hold_the_truth() -> None:
    """Five seeds against five on 24 skewed texts: 95 % asked, and never far below."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        hard_N = rng.exponential(0.3, 24)
        rows = [hard_N * 0.3 * rng.exponential(1, (1, 24)) + rng.normal(0, 0.05, (5, 1)) for _ in range(2)]
        gap = difference_of_searches(rows[0].tolist(), rows[1].tolist())
        assert gap is not None
        held += gap[1] <= 0 <= gap[2]
    assert 0.925 * 400 < held < 400  # some miss: not as wide as can be


def test_unknown_rows(tmp_path: Path, engines: list[SearchEngine]) -> None:
    with pytest.raises(ValueError, match="no row of the study is named 'slow'; there are fast, a tenth, "):
        study("fake", 256, tmp_path, Quiet(), only=("slow",))
