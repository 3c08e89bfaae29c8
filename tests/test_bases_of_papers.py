"""The experiments on bases that papers use: every row has a plan at every length, from the bases' published numbers."""

import pytest

import extenders.base
from extenders.base import RopeSpec
from extenders.search.searched import SearchedExtender
from harness.experiment import file as experiments
from harness.model.spec import spec_from_config

# experiment: θ, head dimensions, trained length as the configuration says it (tokens), and YaRN's band, worked out by
# hand from d·ln(L/2πβ)/2 ln θ: the last pair as trained and the first that is wholly interpolated
BASES = {
    "qwen3-base-128k": (1e6, 128, 32768, (23, 40)),
    "llama3-8b-128k": (5e5, 128, 8192, (18, 35)),
    "llama2-7b-64k": (1e4, 128, 4096, (20, 46)),
    "qwen2.5-7b-128k": (1e6, 128, 131072, (23, 40)),
    "smollm-1.7b-16k": (1e4, 64, 2048, (8, 21)),
    "olmo2-1b-32k": (5e5, 128, 4096, (14, 32)),
    "prolong-8b-256k": (8e6, 128, 65536, None),
    "llama3.1-8b-effective": (5e5, 128, 131072, None),
}


def rope_of(name: str) -> RopeSpec:
    theta, dims, length, _ = BASES[name]
    config = {
        "model_type": "llama",
        "hidden_size": 2 * dims,
        "num_attention_heads": 2,
        "max_position_embeddings": length,
        "rope_theta": theta,
    }
    return spec_from_config(config, trained_length=experiments.read(experiments.find(name)).trained_length)


@pytest.mark.parametrize("name", BASES)
def test_every_row_has_a_plan_at_every_length(name: str) -> None:
    one, rope = experiments.read(experiments.find(name)), rope_of(name)
    assert one.target_length > rope.trained_length and {"none", "mrrope_pro"} & {m.label for m in one.methods}
    for method in one.methods:
        if isinstance(method.extender, SearchedExtender):
            continue  # a search finds its numbers
        plans = {length: method.extender.plan(rope, length) for length in one.lengths}
        changed = any(plan.hash != extenders.base.RopePlan.as_trained(rope).hash for plan in plans.values())
        assert changed == (method.label != "none"), method.label


@pytest.mark.parametrize("name", [name for name, facts in BASES.items() if facts[3]])
def test_yarns_band_on_the_bases(name: str) -> None:
    one, rope = experiments.read(experiments.find(name)), rope_of(name)
    plan = extenders.base.load("yarn")(target_length=one.target_length).plan(rope, one.target_length)
    factors = plan.rescale_factors(rope)
    scale = one.target_length / rope.trained_length
    kept = [i for i, factor in enumerate(factors) if factor == pytest.approx(1)]
    whole = [i for i, factor in enumerate(factors) if factor == pytest.approx(scale)]
    assert (max(kept), min(whole)) == BASES[name][3]
