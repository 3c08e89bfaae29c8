"""Numbers from papers: read as printed, graded, kept apart from ours; and two published tables looked at again."""

from pathlib import Path

import pytest
import synthetic_store as made

from harness.store import Store
from reports.numbers import frame
from reports.numbers.scores import Scores
from reports.numbers.summary import summary
from reports.published import beside, claims, reanalysis

DOCS = Path(__file__).parent.parent / "docs"


def test_anchors_stand_as_printed() -> None:
    """Hand-copied from LongRoPE2 Table 2 and LCEG Table 3."""
    rows = {(one.paper, one.base, one.method): one for one in claims.select("RULER-13")}
    assert rows["longrope2", "llama-3-8b", "LongRoPE2"].number(131072) == 82.03
    assert rows["longrope2", "phi-3-mini", "YaRN"].number(131072) == 39.37
    assert rows["lceg", "llama-2-7b", "PI"].number(32768) == 57.66
    assert rows["lceg", "llama-2-7b", "YaRN"].conflicts == (1,)
    assert rows["longrope2", "llama-3-8b", "NTK"].number(2048) is None


def test_files_hold_together() -> None:
    known = claims.papers()
    for one in claims.claims():
        assert one.paper in known and one.scores and one.unit in ("%", "perplexity", "tokens")
        assert set(one.conflicts) <= set(claims.conflicts()) and set(one.flags) <= set(claims.FLAGS)
        for length, text in one.scores.items():
            assert length == "short" or int(length) >= 1024
            value = one.number(length)
            assert value is None or value >= 0
            assert one.unit != "%" or value is None or value <= 100, (one, text)


def test_rows_of_2026_carry_what_a_reader_has_to_know() -> None:
    """Hand-copied from CoPE's Table 1 and MrRoPE's section 4; the rest was read in notes and says so."""
    rows = {(one.paper, one.method, one.benchmark): one for one in claims.claims()}
    cope = rows["cope", "CoPE, θ 1e7", "HELMET average"]
    assert (cope.number(65536), cope.number(262144)) == (58.68, 28.48)
    assert cope.flags == ("composite", "untuned baseline", "one training seed")
    assert rows["mrrope", "MrRoPE-Pro", "Proof-pile"].number(4096) == 5.72
    assert rows["lampe", "YaRN", "RULER-13"].conflicts == (20,)
    for paper in ("self-distillation", "lampe"):
        assert all("second hand" in one.flags for one in claims.claims() if one.paper == paper)


def test_thirteen_tasks_average_to_the_printed_mean() -> None:
    for paper, base, method in (("longrope2", "llama-3-8b", "LongRoPE2"), ("lceg", "llama-2-7b", "PI")):
        mean = next(c for c in claims.select("RULER-13", base) if (c.paper, c.method) == (paper, method))
        for length in (8192, 16384, 32768):
            tasks = reanalysis.task_scores(paper, base, method, length)
            assert len(tasks) == 13
            assert sum(tasks.values()) / 13 == pytest.approx(mean.number(length), abs=0.011)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("meta-llama/Meta-Llama-3-8B", "llama-3-8b"),
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
        ("/models/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("microsoft/Phi-3-mini-4k-instruct", "phi-3-mini"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b-instruct"),
        ("meta-llama/Llama-2-13b", "llama-2-13b"),
        ("huggyllama/llama-7b", "llama-7b"),
        ("llama-7b-hf", "llama-7b"),
        ("microsoft/Phi-3-mini-128k-instruct", "phi-3-mini-128k-instruct"),
        ("microsoft/phi-2", "phi-2"),
        ("mistralai/Mistral-7B-v0.1", "mistral-7b"),
        ("HuggingFaceTB/SmolLM-360M", "smollm-360m"),
        ("codellama/CodeLlama-7b-hf", ""),
        ("openlm-research/open_llama_7b", ""),
        ("cognitivecomputations/dolphin-2.9-llama3-8b", ""),
        ("gradientai/Llama-3-8B-262k", ""),
        ("NousResearch/Nous-Hermes-llama-2-7b", ""),
        ("mistralai/Mistral-7B-v0.3", ""),
        ("microsoft/Phi-3-mini-128k-instruct-onnx", ""),
        ("pocket-llama", ""),
        ("meta-llama/Llama-2-7b-chat-hf", ""),
        ("", ""),
    ],
)
def test_our_model_under_the_papers_name(name: str, base: str) -> None:
    assert claims.base_of(name) == base


def test_no_claim_is_ever_fully_alike() -> None:
    lceg = next(c for c in claims.select("RULER-13", "llama-2-7b") if c.paper == "lceg")
    near = claims.comparable(lceg, "llama-2-7b", [500], "ruler-paper")
    assert near.alike == ("base model", "number of samples (500)") and near.grade == "2 of 4"
    far = claims.comparable(lceg, "llama-3-8b", [20, 50], "ruler-paper")
    assert far.alike == () and "another base model" in far.words and "ours 20–50" in far.words


def test_a_run_on_the_same_base_shows_the_papers_beside_ours(tmp_path: Path) -> None:
    rows = {task.replace(task.split("/")[0], "ruler-paper"): category for task, category in made.RULER.items()}
    assert len(rows) == 13
    planned = made.planned(("none", "yarn"), (8192,), rows, 4)
    given = {cell["key"]: [1.0, 0.0, 1.0, 1.0] for cell in planned}
    made.write(tmp_path, planned, given, labels=("none", "yarn"), name="meta-llama/Meta-Llama-3-8B")
    scores = Scores(frame.read(Store.open(tmp_path)))
    shown = beside.published(scores, summary(scores))
    ruler = shown.tables[0]
    assert shown.base == "llama-3-8b"
    assert {row.claim.base for table in shown.tables for row in table.rows} == {"llama-3-8b"}
    assert [label for label, _ in ruler.ours] == ["none", "yarn"]
    place = ruler.columns.index("8,192")
    assert ruler.ours[0][1][place].estimate is not None and ruler.ours[0][1][place].estimate.mean == 0.75
    assert "93.68" in {row.texts[place] for row in ruler.rows}
    # Published rows are no methods: no table, average or test of ours knows them.
    assert scores.frames.labels == ["none", "yarn"]


def test_a_part_of_ruler_is_not_set_beside_published_averages(tmp_path: Path) -> None:
    planned = made.planned(("none", "yarn"), (8192,), {"ruler-paper/vt": "tracking", "ruler-paper/cwe": "counting"}, 4)
    given = {cell["key"]: [1.0, 0.0, 1.0, 1.0] for cell in planned}
    made.write(tmp_path, planned, given, labels=("none", "yarn"), name="meta-llama/Meta-Llama-3-8B")
    scores = Scores(frame.read(Store.open(tmp_path)))
    ruler = beside.published(scores, summary(scores)).tables[0]
    assert all(number.estimate is None for _, numbers in ruler.ours for number in numbers)


def test_another_model_gets_orientation_only(tmp_path: Path) -> None:
    scores = Scores(frame.read(made.write(tmp_path, [], {})))
    shown = beside.published(scores, summary(scores))
    assert shown.base == "" and len(shown.tables) == 1 and shown.tables[0].ours == ()
    assert {row.claim.paper for row in shown.tables[0].rows} == set(beside.ANCHOR_PAPERS)
    assert 1 in {conflict.id for conflict in shown.conflicts}


def test_the_lceg_ranking_flips_without_one_task() -> None:
    """At 32k NTK leads by 1.76 points; without frequent words PI leads by 0.89 (by hand from LCEG Tables 12 and 15)."""
    found = reanalysis.left_out()
    assert found.all_tasks == pytest.approx(1.76, abs=0.01)
    assert list(found.flips) == ["fwe"] and found.flips["fwe"] == pytest.approx(-0.89, abs=0.01)
    assert list(reanalysis.left_out(length=16384).flips) == ["vt", "fwe"]
    assert reanalysis.left_out(length=8192).flips == {}
    with pytest.raises(ValueError, match="no 13 tasks"):
        reanalysis.left_out(length=131072)


def test_the_ablations_against_their_noise() -> None:
    """z-values worked out by hand from Tables 6 to 10 of LongRoPE2 with n = 100."""
    z = {(one.what.split()[0], one.model): one.z for one in reanalysis.ablations()}
    assert z["mixed", "LLaMA3-8B"] == pytest.approx(1.7, abs=0.05)
    assert z["mixed", "Phi3-mini"] == pytest.approx(1.8, abs=0.05)
    assert z["search", "LLaMA3-8B"] == pytest.approx(3.6, abs=0.05)
    assert z["search", "Phi3-mini"] == pytest.approx(1.0, abs=0.05)
    assert z["needle-driven", "LLaMA3-8B"] == pytest.approx(3.0, abs=0.05)
    assert z["needle-driven", "Phi3-mini"] == pytest.approx(5.8, abs=0.06)


def test_the_documentation_is_what_the_command_prints() -> None:
    assert (DOCS / "published.md").read_text(encoding="utf-8") == reanalysis.markdown()
