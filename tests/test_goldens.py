"""Frequencies and attention factors against transformers' own functions, and against the authors' numbers.

transformers computes in float32 and we in float64, hence the tolerance of 1e-6 relative. Its functions are also run
in float64, where nothing but the last digits may differ.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import modeling_rope_utils

from extenders._formulas import longrope_attention_factor, ntk_fill, yarn_attention_factor
from extenders._published import published, published_names
from extenders.base import Extender, RopeSpec
from extenders.dynamic_ntk import DynamicNtk
from extenders.factors import Factors
from extenders.llama3 import Llama3
from extenders.none import NoExtension
from extenders.ntk import Ntk
from extenders.pi import PositionInterpolation
from extenders.yarn import Yarn

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def textbook(rotary_dims: int, theta: float, trained_length: int) -> RopeSpec:
    return RopeSpec(
        rotary_dims, theta, trained_length, tuple(theta ** (-2 * i / rotary_dims) for i in range(rotary_dims // 2))
    )


# --- transformers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Geometry:
    head_dim: int
    rotary_fraction: float
    theta: float
    trained_length: int
    factor: int

    @property
    def rope(self) -> RopeSpec:
        return textbook(int(self.head_dim * self.rotary_fraction), self.theta, self.trained_length)

    @property
    def target_length(self) -> int:
        return self.trained_length * self.factor


GEOMETRIES = [
    Geometry(64, 1.0, 1e4, 2048, 4),
    Geometry(96, 1.0, 1e4, 2048, 64),
    Geometry(96, 1.0, 1e4, 4096, 32),
    Geometry(128, 1.0, 1e4, 4096, 1),
    Geometry(128, 1.0, 1e4, 65536, 8),  # the YaRN ramp ends beyond the last pair
    Geometry(128, 1.0, 5e5, 8192, 16),
    Geometry(128, 1.0, 1e6, 32768, 4),
    Geometry(128, 0.75, 1e4, 4096, 32),
    Geometry(80, 0.4, 1e4, 2048, 8),
    Geometry(64, 0.25, 1e6, 512, 2),
]


class DoubleTorch:
    """torch, with the float32 that transformers' functions ask for replaced by float64."""

    float = float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@pytest.fixture(params=["float32", "float64"])
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The precision that transformers' functions compute in during this test."""
    if request.param == "float64":
        monkeypatch.setattr(modeling_rope_utils, "torch", DoubleTorch())
    return str(request.param)


def native(kind: str, geometry: Geometry, length: int | None, **parameters: Any) -> tuple[list[float], float]:
    """inv_freq and attention factor of transformers' function of that rope type."""
    config = SimpleNamespace(
        head_dim=geometry.head_dim,
        hidden_size=4 * geometry.head_dim,
        num_attention_heads=4,
        max_position_embeddings=geometry.trained_length,
        rope_parameters={
            "rope_type": kind,
            "rope_theta": geometry.theta,
            "partial_rotary_factor": geometry.rotary_fraction,
            "factor": float(geometry.factor),
            "original_max_position_embeddings": geometry.trained_length,
            **parameters,
        },
        standardize_rope_params=lambda: None,
    )
    inv_freq, attention_factor = modeling_rope_utils.ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
    return inv_freq.tolist(), attention_factor


def assert_equal(
    extender: Extender, geometry: Geometry, length: int, expected: tuple[list[float], float], tolerance: float
) -> None:
    plan = extender.plan(geometry.rope, length)
    assert plan.inv_freq == pytest.approx(expected[0], rel=tolerance, abs=0)
    assert plan.attention_factor == pytest.approx(expected[1], rel=1e-12, abs=0)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
class TestTransformers:
    def test_linear(self, geometry: Geometry, precision: str) -> None:
        expected = native("linear", geometry, None)
        assert_equal(
            PositionInterpolation(target_length=geometry.target_length), geometry, 100, expected, TOLERANCE[precision]
        )

    @pytest.mark.parametrize("length", ["short", "trained", "between", "target"])
    @pytest.mark.parametrize("growth", [None, 1.0, 2.0])
    def test_dynamic(self, geometry: Geometry, precision: str, length: str, growth: float | None) -> None:
        trained, target = geometry.trained_length, geometry.target_length
        tokens = {"short": 100, "trained": trained, "between": (trained + target) // 2, "target": target}[length]
        expected = native("dynamic", geometry, tokens, factor=growth or float(geometry.factor))
        assert_equal(DynamicNtk(target_length=target, growth=growth), geometry, tokens, expected, TOLERANCE[precision])

    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"truncate": False},
            {"beta_fast": 64.0, "beta_slow": 2.0},
            {"beta_fast": 1.01, "beta_slow": 1.0},
            {"attention_factor": 1.25},
        ],
        ids=str,
    )
    def test_yarn(self, geometry: Geometry, precision: str, parameters: dict[str, Any]) -> None:
        if geometry.factor == 1 and "attention_factor" in parameters:
            pytest.skip("our factor 1 is the identity, transformers' keeps the attention factor")
        expected = native("yarn", geometry, None, **parameters)
        extender = Yarn(target_length=geometry.target_length, **parameters)
        assert_equal(extender, geometry, geometry.target_length, expected, TOLERANCE[precision])

    @pytest.mark.parametrize("bands", [(1.0, 4.0), (2.0, 3.0)])
    def test_llama3(self, geometry: Geometry, precision: str, bands: tuple[float, float]) -> None:
        parameters = {"low_freq_factor": bands[0], "high_freq_factor": bands[1]}
        expected = native("llama3", geometry, None, **parameters)
        extender = Llama3(target_length=geometry.target_length, **parameters)
        # float32 loses digits in `turns - low_freq_factor` at the edge of a band: 2e-6 at worst here
        tolerance = TOLERANCE[precision] * (3 if precision == "float32" else 1)
        assert_equal(extender, geometry, geometry.target_length, expected, tolerance)

    @pytest.mark.parametrize("within", [True, False])
    @pytest.mark.parametrize("attention_factor", [None, 1.3])
    def test_longrope(self, geometry: Geometry, within: bool, attention_factor: float | None) -> None:
        if geometry.factor == 1:
            pytest.skip("our factor 1 is the identity, transformers' uses the short list")
        pairs = len(geometry.rope.inv_freq)
        short = [1 + 0.03 * i for i in range(pairs)]
        long = [geometry.factor ** (1.2 * i / pairs) for i in range(pairs)]
        length = geometry.trained_length + (0 if within else 1)
        parameters = {"short_factor": short, "long_factor": long, "attention_factor": attention_factor}
        expected = native("longrope", geometry, length, **parameters)
        extender = Factors(
            target_length=geometry.target_length, factors=long, short_factors=short, attention_factor=attention_factor
        )
        assert_equal(extender, geometry, length, expected, 1e-6)

    def test_default(self, geometry: Geometry, precision: str) -> None:
        expected = native("linear", geometry, None, factor=1.0)
        assert_equal(NoExtension(target_length=geometry.target_length), geometry, 100, expected, TOLERANCE[precision])


def test_llama_3_1_divides_by_8_although_its_window_grew_16_times() -> None:
    geometry = Geometry(128, 1.0, 5e5, 8192, 16)
    expected = native("llama3", geometry, None, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
    assert_equal(Llama3(target_length=131072, divisor=8.0), geometry, 131072, expected, 1e-6)


# --- the authors' numbers -------------------------------------------------------------------------------------------

LLAMA2 = textbook(128, 1e4, 4096)
LLAMA3 = textbook(128, 5e5, 8192)
PHI3 = textbook(96, 1e4, 2048)


def test_longrope_attention_factor() -> None:
    assert longrope_attention_factor(16, 8192) == pytest.approx(1.1435437497937313, rel=1e-14)
    assert longrope_attention_factor(32, 4096) == pytest.approx(1.1902380714238083, rel=1e-14)
    assert longrope_attention_factor(64, 2048) == pytest.approx(1.243163121016122, rel=1e-14)  # Phi-3.5-MoE's config
    assert longrope_attention_factor(1, 4096) == longrope_attention_factor(0.5, 4096) == 1


def test_yarn_attention_factor() -> None:
    assert yarn_attention_factor(32) == pytest.approx(1.3465735902799727, rel=1e-14)
    assert yarn_attention_factor(1) == yarn_attention_factor(0.5) == 1


@pytest.mark.parametrize(
    ("rope", "pair"), [(PHI3, 31), (LLAMA3, 35), (LLAMA2, 46), (textbook(64, 1e4, 2048), 21)], ids=str
)
def test_critical_pair(rope: RopeSpec, pair: int) -> None:
    assert rope.critical_pair == pair


def test_lower_limit_of_longrope2s_search() -> None:
    """ceil of the pair that turns ten times in training: Phi3-mini at 2k and 4k, LLaMA3-8B."""
    below = [rope.pair_of_period(rope.trained_length / 10) for rope in (PHI3, textbook(96, 1e4, 4096), LLAMA3)]
    assert [int(pair) + 1 for pair in below] == [19, 22, 24]


def test_ntk_fill() -> None:
    fill = ntk_fill(33, 21.81)
    assert len(fill) == 33 and fill[0] == 1
    assert [fill[1], fill[29], fill[30]] == pytest.approx([1.0979064164, 15.0104728, 16.4800944], rel=5e-9)
    assert ntk_fill(31, 32.03)[1] == pytest.approx(1.118320672, rel=1e-9)
    new_base = 5e5 * 21.81 ** (64 / 33)
    assert new_base == pytest.approx(1.97310723e8, rel=3e-9)
    other = textbook(128, new_base, 8192).inv_freq[:33]
    assert [LLAMA3.inv_freq[i] / fill[i] for i in range(33)] == pytest.approx(list(other), rel=1e-13)


@pytest.mark.parametrize(
    ("rope", "critical_pair", "new_base"),
    [
        (LLAMA2, None, 1e4 * 32 ** (128 / 126)),  # the base change as it was first written down
        (LLAMA3, "theoretical", 7.98e7),  # LongRoPE2's NTK baseline to 128k
        (PHI3, "theoretical", 7.49e6),
        (LLAMA3, 33, 5e5 * 16 ** (64 / 33)),
    ],
    ids=str,
)
def test_ntk_is_a_new_base(rope: RopeSpec, critical_pair: float | str | None, new_base: float) -> None:
    extender = Ntk(target_length=131072, critical_pair=critical_pair)
    found = extender.plan(rope, 1).inv_freq[1] ** (-rope.rotary_dims / 2)
    assert found == pytest.approx(new_base, rel=1e-9 if critical_pair != "theoretical" else 1e-3)


def test_ntk_keeps_the_fastest_pair_and_divides_the_slowest_by_s() -> None:
    factors = Ntk(target_length=4096 * 32).plan(LLAMA2, 1).rescale_factors(LLAMA2)
    assert factors[0] == 1
    assert factors[-1] == pytest.approx(32, rel=1e-12)


def test_dynamic_ntk_with_growth_1_is_ntk_for_this_prompt() -> None:
    for length in (5000, 8192, 100000):
        dynamic = DynamicNtk(target_length=131072, growth=1).plan(LLAMA2, length)
        assert dynamic.inv_freq == pytest.approx(Ntk(target_length=length).plan(LLAMA2, 1).inv_freq, rel=1e-12)


def test_yarn_mask_of_llama2() -> None:
    extender = Yarn(target_length=4096 * 32)
    assert extender.ramp(LLAMA2) == (20, 46)
    factors = extender.plan(LLAMA2, 1).rescale_factors(LLAMA2)
    assert factors[20] == 1 < factors[21]
    assert factors[45] < factors[46] == pytest.approx(32)
    # frequencies are blended, not factors (which would give 16.5)
    assert factors[33] == pytest.approx(1 / (0.5 + 0.5 / 32), rel=1e-12)
    assert factors[33] == pytest.approx(1.939, abs=5e-4)


def test_yarn_ramp_clips_at_d_minus_1_as_the_authors_do() -> None:
    """With a trained window of 64k the ramp ends at pair 65 of 64: clipping at d/2-1 would make the last pair 8."""
    rope = textbook(128, 1e4, 65536)
    extender = Yarn(target_length=8 * 65536)
    assert extender.ramp(rope) == (40, 65)
    assert extender.plan(rope, 1).rescale_factors(rope)[63] == pytest.approx(1 / (0.08 + 0.92 / 8), rel=1e-12)


def test_published_llama3_list() -> None:
    entry = published("llama3-8b-longrope2-128k")
    assert entry.long[:33] == pytest.approx(ntk_fill(33, 21.81), rel=5e-9)
    assert list(entry.long) == sorted(entry.long)
    assert entry.long[63] == 26.05
    assert next(i for i, factor in enumerate(entry.long) if factor >= 16) == 30
    assert all(16 <= factor <= 32 for factor in entry.long[33:])
    assert entry.short == (1.0,) * 64


def test_published_lists_are_whole() -> None:
    assert len(published_names()) == 38
    for name in published_names():
        entry = published(name)
        for factors in (entry.long, entry.short or entry.long):
            assert len(factors) == entry.rotary_dims // 2
            assert all(0 < factor < 1000 for factor in factors)
        assert entry.source and entry.model and entry.method
        assert entry.target_length >= entry.original_length


def test_published_attention_factors_are_longropes_formula() -> None:
    """Why `factors` falls back to the formula where a source gives no number."""
    given = [published(name) for name in published_names() if published(name).attention_factor is not None]
    assert len(given) == 6
    for entry in given:
        scale = entry.target_length / entry.original_length
        formula = longrope_attention_factor(scale, entry.original_length)
        assert entry.attention_factor == pytest.approx(formula, rel=1e-14)
        # a plan asks for the published number and not for the formula at this model's own trained length
        other_window = textbook(entry.rotary_dims, entry.rope_theta, entry.original_length // 2)
        plan = Factors(target_length=131072, factors=f"published:{entry.name}").plan(other_window, 131072)
        assert plan.attention_factor == entry.attention_factor


def test_published_v1_lists_have_the_values_that_were_read_from_their_source() -> None:
    """LLaMA2-7B at pairs 0, 8, …, to two or one decimals."""
    pairs = [0, 8, 16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 63]
    expected = {
        "v1-ft_la2_128k": [1, 1, 1, 1.06, 1.94, 3.06, 5.18, 7.42, 18.37, 32, 32, 32, 32],
        "v1-ft_la2_256k": [1.02, 1.1, 4.81, 12.59, 16.71, 20.65, 30.53, 33.93, 43.38, 57.31, 60.95, 63.7, 64.77],
        "v1-4k_la2_256k": [1.13, 1.52, 2.29, 3.7, 4.24, 6.08, 7.06, 7.29, 8.09, 10.52, 13.99, 43.36, 62.04],
    }
    for name, values in expected.items():
        assert [published(name).long[i] for i in pairs] == pytest.approx(values, abs=0.0051)
