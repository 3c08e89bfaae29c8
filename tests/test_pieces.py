"""Position mapping as data: regions partition the causal triangle, anchors of the methods, hashes, wrong input."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import extenders.base
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.composite import Composite
from extenders.dca import DualChunkAttention
from extenders.dpe import Dpe
from extenders.jet_long import JetLong
from extenders.jet_long_frequency import JetLongFrequency
from extenders.lampe import Lampe
from extenders.pieces import LogitScale, Piece, Positions, Region, log_n, near_and_far, relative_position
from extenders.rerope import ReRope
from extenders.self_extend import SelfExtend
from extenders.string import String
from extenders.temperature import Temperature
from harness.forms.two_plans import two_plans
from harness.rope.piece_attention import bounds, phase_of, scales_of
from harness.tools.export import export
from harness.training.job import plans_of

MAPPING = ("dca", "dpe", "jet_long", "jet_long_frequency", "lampe", "rerope", "self_extend", "string")


def textbook(dims: int, theta: float, trained: int) -> RopeSpec:
    return RopeSpec(dims, theta, trained, tuple(theta ** (-2 * i / dims) for i in range(dims // 2)))


SMALL = textbook(16, 1e4, 64)


def distances(method: Extender, rope: RopeSpec, length: int, pairs: list[tuple[int, int]]) -> list[float]:
    pieces = method.plan(rope, length).pieces
    return [relative_position(pieces, i, j) for i, j in pairs]


@pytest.mark.parametrize("length", [1, 15, 64, 65, 200])
@pytest.mark.parametrize("name", MAPPING)
def test_regions_own_every_key_of_every_query_once(name: str, length: int) -> None:
    plan = extenders.base.load(name)(target_length=512).plan(SMALL, max(length, 65))
    owners = torch.zeros(length, length, dtype=torch.int)
    for piece in plan.pieces:
        owned = torch.tensor([[piece.region.owns(i, j) for j in range(length)] for i in range(length)])
        owners += owned
        for i in range(length):
            first, last = piece.region.keys(i)
            assert owned[i].nonzero().flatten().tolist() == list(range(first, last + 1))
        first, last = bounds(piece.region, torch.arange(length))
        assert [(int(a), int(b)) for a, b in zip(first, last, strict=True)] == [
            piece.region.keys(i) for i in range(length)
        ]
    assert torch.equal(owners, torch.ones_like(owners).tril())


def test_self_extend_at_its_anchors() -> None:
    rope = textbook(128, 1e4, 4096)
    method = SelfExtend(target_length=131072, group=8)
    keys = [1023, 1024, 1031, 1032, 16383, 131071]
    assert distances(method, rope, 131072, [(i, 0) for i in keys]) == [1023, 1024, 1024, 1025, 2943, 17279]
    by_rule = SelfExtend(target_length=16384).plan(rope, 16384).pieces[1].key.divide
    assert by_rule == 15 and 1024 + (16384 - 1024) / 15 <= 2048 < 1024 + (16384 - 1024) / 14


def test_string_at_its_anchors() -> None:
    rope = textbook(128, 5e5, 131072)
    method = String(target_length=262144)
    found = distances(method, rope, 131072, [(d, 0) for d in (43252, 43253, 43254, 131071)])
    assert found == [43252, 128, 129, 87946]
    assert method.plan(rope, 1).attention_factor ** 2 == pytest.approx(1.143434, abs=1e-6)


def test_dca_at_its_anchors() -> None:
    method = DualChunkAttention(target_length=16384)
    rope = textbook(128, 1e4, 4096)
    pairs = [(2559, 0), (2560, 2559), (3071, 2559), (3072, 2559), (6000, 0), (10000, 100)]
    assert distances(method, rope, 16384, pairs) == [2559, 1, 512, 513, 3072, 2972]
    assert method.plan(rope, 16384).attention_factor == pytest.approx(1.069315, abs=1e-6)
    assert method.plan(rope, 4000).attention_factor == 1
    small = textbook(16, 1e4, 32)
    found = distances(DualChunkAttention(target_length=64), small, 64, [(24, 19), (25, 19), (41, 0), (63, 5)])
    assert found == [5, 5, 24, 19]


def test_jet_long_at_its_anchors() -> None:
    rope = textbook(128, 1e6, 32768)
    method = JetLong(target_length=131072)
    pairs = [(2048, 0), (2049, 0), (131071, 0)]
    assert distances(method, rope, 131072, pairs) == [2048, 512, 32767]
    assert method.plan(rope, 32768) == RopePlan.as_trained(rope)
    moved = dataclasses.replace(method, offset=True)
    assert distances(moved, rope, 131072, pairs) == [2048, 2048, 34303]


def test_jet_long_in_frequencies_at_its_anchors() -> None:
    rope = textbook(128, 1e6, 32768)
    plan = JetLongFrequency(target_length=131072).plan(rope, 131072)
    far = plan.pieces[1]
    assert far.inv_freq is not None
    kept = [far.inv_freq[p] / rope.inv_freq[p] for p in (24, 31, 39, 63)]
    assert kept == pytest.approx([0.955182, 0.641457, 0.282913, 0.238095], abs=1e-6)
    for pair in (0, 30, 63):  # the phase goes on: one step beyond the window it has moved by one slower step
        phase = relative_position(plan.pieces, 5049, 3000, pair) * far.inv_freq[pair]
        assert phase == pytest.approx(2048 * rope.inv_freq[pair] + far.inv_freq[pair], rel=1e-9)
    assert relative_position(plan.pieces, 131072, 0, 63) * far.inv_freq[63] == pytest.approx(32768 * rope.inv_freq[63])
    assert far.logit_scale is not None and far.logit_scale.at(9) == pytest.approx(1 + 0.1 * math.log(4.2))
    assert plan.pieces[0].logit_scale is None


def test_lampe_at_its_anchors() -> None:
    rope = textbook(128, 5e5, 8192)
    method = Lampe(target_length=131072, tail=200)
    lengths = (8192, 16384, 32768, 65536, 131072)
    sizes = [method.plan(rope, n).pieces[2].query.at(0) + n for n in lengths]
    assert sizes == pytest.approx([1036, 1993, 4501, 6129, 6204], abs=1)
    found = distances(method, rope, 16384, [(d, 0) for d in (512, 513, 1024, 8192, 16183, 16184, 16383)])
    assert found == [512, 512, 553, 1140, 1793, 1794, 1993]
    assert method.plan(rope, 1024) == RopePlan.as_trained(rope)


def test_dpe_groups_pairs() -> None:
    rope = textbook(128, 5e5, 8192)
    pieces = Dpe(target_length=131072).plan(rope, 9).pieces
    found = [relative_position(pieces, 1031, 0, pair) for pair in (0, 7, 8, 24, 32, 63)]
    assert found == [1027, 1027, 1024, 1024, 1024, 1025]
    alike = Dpe(target_length=131072, groups=(8,)).plan(rope, 9).pieces
    same = SelfExtend(target_length=131072, window=1024, group=8).plan(rope, 9).pieces
    for i, j in ((1023, 0), (1024, 0), (1031, 6), (9999, 77)):
        assert relative_position(alike, i, j, 5) == relative_position(same, i, j)


def test_rerope_stands_still_beyond_its_window() -> None:
    rope = textbook(128, 1e4, 4096)
    method = ReRope(target_length=32768)
    assert distances(method, rope, 9, [(1023, 0), (1024, 0), (9000, 0)]) == [1023, 1024, 1024]
    scale = method.plan(rope, 9).pieces[1].logit_scale
    assert scale is not None and scale.at(32767) == 1.25 and scale.at(100) == 1
    assert ReRope(target_length=32768, log_n=False).plan(rope, 9).pieces[1].logit_scale is None


def test_logit_scales_of_the_literature() -> None:
    llama4 = LogitScale(slope=0.1, offset=1, step=8192)
    assert [llama4.at(p) for p in (8190, 8191, 131071, 1048575)] == pytest.approx(
        [1, 1.069315, 1.283321, 1.485981], abs=1e-6
    )
    ministral = LogitScale(slope=0.1, step=16384)
    assert [ministral.at(p) for p in (16383, 16384, 262143)] == pytest.approx([1, 1.069315, 1.277259], abs=1e-6)
    for scale in (llama4, ministral, log_n(4096)):
        found = scales_of(scale, 8000, 20000, torch.device("cpu"))
        assert found is not None and found[123].item() == pytest.approx(scale.at(8123), rel=1e-6)


def test_a_temperature_is_put_on_any_method() -> None:
    rope = textbook(128, 1e4, 4096)
    over_yarn = Temperature(target_length=32768, method="yarn").plan(rope, 32768)
    yarn = extenders.base.load("yarn")(target_length=32768).plan(rope, 32768)
    assert dataclasses.replace(over_yarn, pieces=()) == yarn
    [piece] = over_yarn.pieces
    assert piece.region == Region() and piece.logit_scale == log_n(4096)
    mapped = Temperature(target_length=32768, method="self_extend group=8", rule="ministral").plan(rope, 9)
    scales = {piece.logit_scale for piece in mapped.pieces}
    assert scales == {LogitScale(slope=0.1, step=4096)} and len(mapped.pieces) == 2
    [piece] = Temperature(target_length=32768, method="none", rule="ssmax", slope=0.5).plan(rope, 9).pieces
    assert piece.logit_scale is not None
    assert [piece.logit_scale.at(p) for p in (0, 99)] == pytest.approx([1e-6, 0.5 * math.log(100)])
    [piece] = Temperature(target_length=32768, method="none", rule="llama4").plan(rope, 9).pieces
    assert piece.logit_scale == LogitScale(slope=0.1, offset=1, step=8192)


@pytest.mark.parametrize(
    "positions",
    [
        Positions(),
        Positions(modulo=7, times=3, plus=-4, divide=2, shift=5.5, most=9.0),
        Positions(divide=(1, 2, 5), shift=(0.0, 1.25, -2.0)),
        Positions(times=0, shift=4),
    ],
)
def test_tensors_of_positions_are_those_of_the_data(positions: Positions) -> None:
    inv_freq = torch.tensor([1.0, 0.5, 0.01])
    found = phase_of(positions, 3, 40, inv_freq)
    wanted = [[positions.at(x, p) * float(inv_freq[p]) for p in range(3)] for x in range(3, 43)]
    assert torch.allclose(found, torch.tensor(wanted), rtol=1e-6, atol=0)


def test_pieces_are_hashed_and_plans_without_them_keep_their_keys() -> None:
    plans = [SelfExtend(target_length=512, group=g).plan(SMALL, 512) for g in (2, 3)]
    plans.append(RopePlan(SMALL.inv_freq, pieces=(Piece(),)))
    plans.append(RopePlan(SMALL.inv_freq, pieces=(Piece(inv_freq=SMALL.inv_freq),)))
    plans.append(RopePlan(SMALL.inv_freq, pieces=(Piece(logit_scale=log_n(64)),)))
    hashes = {plan.hash for plan in plans}
    assert len(hashes) == len(plans)
    assert RopePlan(SMALL.inv_freq).hash not in hashes
    assert RopePlan((1.0, 0.25), 1.0, 4).hash == "30f8ecf6dc1650bf"
    assert plans[0].hash == "1f9abbe21b4ca0a3"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RopePlan((1.0,), pieces=(Piece(Region(0, 5)), Piece(Region(6)))), "no region owns the keys with 5 ≤"),
        (lambda: RopePlan((1.0,), pieces=(Piece(Region(0, 5)), Piece(Region(4)))), "two regions own the same keys"),
        (lambda: RopePlan((1.0,), pieces=(Piece(Region(0, 5)),)), "no region owns the keys from 5 on"),
        (lambda: RopePlan((1.0,), pieces=(Piece(Region(0, 1, 8)), Piece(Region(1)))), "one chunk size"),
        (lambda: RopePlan((1.0,), pieces=(Piece(inv_freq=(1.0, 2.0)),)), "lists 2 values, and the plan has 1"),
        (lambda: RopePlan((1.0,), 1.0, 4, pieces=(Piece(),)), "keeps no first tokens"),
        (lambda: SelfExtend(target_length=512, group=0), "group must be at least 1, got 0"),
        (
            lambda: SelfExtend(target_length=512, window=65).plan(SMALL, 9),
            "within the trained length of 64 tokens, got 65",
        ),
        (lambda: ReRope(target_length=512, window=65).plan(SMALL, 9), "within the trained length of 64 tokens, got 65"),
        (lambda: String(target_length=512, shift=20, window=21).plan(SMALL, 9), "at most the shift of 20 tokens"),
        (
            lambda: DualChunkAttention(target_length=512, chunk=8, local=8).plan(SMALL, 9),
            "local must be below 8 tokens, got 8",
        ),
        (lambda: JetLong(target_length=512, reach=65).plan(SMALL, 9), "within the trained length of 64 tokens"),
        (lambda: Positions(divide=0), "divide must be a whole number from 1 on, got 0"),
        (lambda: Positions(shift=math.inf), "shift must be a finite number"),
        (lambda: LogitScale(base=-1.0), "above 0 at every position"),
        (
            lambda: Composite(target_length=512, first="rerope", length=128, then="yarn").plan(SMALL, 500),
            "put it in then",
        ),
        (lambda: Temperature(target_length=512, method="yarn", rule="log2"), "rule must be 'log_n' or"),
        (
            lambda: Temperature(target_length=512, method="rerope").plan(SMALL, 9),
            "'rerope' has a temperature of its own by position; turn it off",
        ),
        (lambda: two_plans(SelfExtend(target_length=512), SMALL), "maps positions, which no configuration can say"),
    ],
)
def test_wrong_input_is_one_line(make, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_nothing_is_trained_under_mapped_positions() -> None:
    sequence: Any = SimpleNamespace(rope="extended", portion=SimpleNamespace(rope="extended"), target=512)
    with pytest.raises(ValueError, match="rerope maps positions, and nothing is trained under mapped positions yet"):
        plans_of(ReRope(target_length=512), SMALL, [[sequence]], {})


@pytest.mark.parametrize("form", ["hf", "vllm", "sglang", "mlx", "llama.cpp", "gguf", "plan"])
def test_no_form_of_export_has_a_word_for_it(form: str, tmp_path: Path) -> None:
    for name in ("dca", "jet_long"):
        with pytest.raises(ValueError, match="maps positions, which no configuration can say and no engine runs"):
            export(name, {}, "pocket-llama", 4096, form=form, out=tmp_path / "x.gguf", always_long=form == "hf")


def test_pieces_in_words() -> None:
    words = [piece.words for piece in SelfExtend(target_length=512, window=16, group=5).plan(SMALL, 9).pieces]
    assert words == [
        "0 ≤ distance < 16: query at x, key at x",
        "16 ≤ distance: query at ⌊x/5⌋ + 13, key at ⌊x/5⌋",
    ]
    [same, before, older] = DualChunkAttention(target_length=512, chunk=48, local=8).plan(SMALL, 9).pieces
    assert same.words == "0 ≤ chunks of 40 apart < 1: query at (x mod 40), key at (x mod 40)"
    assert before.words == "1 ≤ chunks of 40 apart < 2: query at (x mod 40) + 40, at most 48, key at (x mod 40)"
    assert older.words == "2 ≤ chunks of 40 apart: query at 48, key at (x mod 40)"
    lampe = Lampe(target_length=512).plan(SMALL, 300).pieces
    assert lampe[1].words == "5 ≤ distance < 299: query at ⌊(x · 35 - 140)/295⌋ + 4, key at ⌊(x · 35)/295⌋"
    assert lampe[2].words == "299 ≤ distance: query at x - 260, key at x"
    by_pair = Positions(divide=(2, 8), shift=(1.5, 0.0))
    assert by_pair.words == "⌊x/(2 8)⌋ + (1.5 0)"
    assert near_and_far(4, Positions(), Positions())[1].words == "4 ≤ distance: query at x, key at x"
