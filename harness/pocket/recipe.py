"""What the pocket models are and how they are trained: shapes, curriculum and optimiser, as constants.

Scale models of the paper's two: window 512 for 8,192 (LLaMA3-8B) and 2,048 (Phi3-mini). The base θ puts the same share
of rotary pairs below the theoretical critical dimension, before rounding: (ln(L/2π)/ln θ) is 34.98/64 for LLaMA3-8B
and 30.16/48 for Phi3-mini.
"""

import math
from dataclasses import dataclass
from typing import Any

WINDOW = 512
LLAMA3_SHARE = math.log(8192 / (2 * math.pi)) / math.log(5e5)  # 0.5466
PHI3_SHARE = math.log(2048 / (2 * math.pi)) / math.log(1e4)  # 0.6284


def theta(share: float) -> float:
    """The base whose critical pair lies at that share of the pairs, for the pocket window, to one unit."""
    return float(round((WINDOW / (2 * math.pi)) ** (1 / share)))


@dataclass(frozen=True)
class Phase:
    """From which step on, and what is drawn: lengths in tokens and kinds of sequence, with weights."""

    start: int
    lengths: dict[int, float]
    kinds: dict[str, float]


# Looking keys up comes first, from many short questions. Every format has a simpler step before it, and without that
# step only its usual answers are learned: pairs for needle lines, chains for tracking, counted for counting, told and
# relatives for questions over documents.
PHASES = (
    Phase(0, {64: 0.7, 128: 0.3}, {"pairs": 7.0, "told": 2.0, "quiz": 0.5, "stories": 0.5}),
    Phase(
        300,
        {64: 0.2, 128: 0.8},
        {"pairs": 2.0, "lines": 4.0, "told": 2.5, "relatives": 1.5, "chains": 2.5, "sums": 1.0, "quiz": 1.0,
         "stories": 0.3},
    ),
    Phase(
        700,
        {128: 0.4, 256: 0.6},
        {"pairs": 0.5, "lines": 2.0, "retrieval": 3.0, "several": 2.0, "exact": 1.0, "chains": 3.0, "tracked": 1.0,
         "told": 1.0, "relatives": 4.0, "single": 1.5, "documents": 2.0, "counted": 2.0, "common": 0.5,
         "frequent": 0.5, "codes": 0.5, "sums": 1.5, "quiz": 1.5, "stories": 0.5},
    ),
    Phase(
        1150,
        {128: 0.15, 256: 0.55, 512: 0.3},
        {"lines": 1.0, "retrieval": 4.0, "several": 5.0, "exact": 2.0, "chains": 1.5, "tracked": 2.0, "told": 0.5,
         "relatives": 3.0, "single": 1.0, "documents": 5.0, "common": 2.0, "frequent": 2.0, "counted": 2.5,
         "codes": 0.7, "quiz": 1.0, "sums": 2.0, "stories": 0.7, "natural": 0.5},
    ),
    Phase(
        1650,
        {64: 0.05, 128: 0.05, 256: 0.35, 512: 0.55},
        {"lines": 1.0, "retrieval": 4.0, "several": 5.0, "exact": 2.0, "chains": 1.0, "tracked": 2.5, "told": 0.5,
         "relatives": 2.0, "single": 0.5, "documents": 5.0, "common": 3.0, "frequent": 2.5, "counted": 2.5,
         "codes": 0.7, "quiz": 1.0, "sums": 2.0, "stories": 0.7, "natural": 0.5},
    ),
    # what was still weak after 2,400 steps: several values, counting, uuids and questions of two hops
    Phase(
        2400,
        {64: 0.05, 128: 0.15, 256: 0.4, 512: 0.4},
        {"lines": 1.0, "retrieval": 4.0, "several": 5.0, "exact": 3.0, "chains": 0.5, "tracked": 2.0, "told": 0.3,
         "relatives": 0.5, "kin": 6.0, "single": 0.5, "documents": 3.0, "common": 4.0, "frequent": 4.0, "counted": 3.0,
         "codes": 0.5, "quiz": 1.0, "sums": 1.5, "stories": 0.5, "natural": 0.3},
    ),
)  # fmt: skip

# questions of two hops took a fifth of that phase and did not come (pocket-llama: 35 % before, 37.5 % after)
LAST_OF_PHI = Phase(
    2400,
    {64: 0.05, 128: 0.15, 256: 0.35, 512: 0.45},
    {"lines": 1.0, "retrieval": 5.0, "several": 7.0, "exact": 4.0, "chains": 0.5, "tracked": 2.0, "told": 0.3,
     "relatives": 0.5, "kin": 1.5, "single": 0.5, "documents": 4.0, "common": 4.0, "frequent": 3.5, "counted": 3.0,
     "codes": 0.7, "quiz": 1.5, "sums": 1.0, "stories": 0.5, "natural": 0.3},
)  # fmt: skip


@dataclass(frozen=True)
class PocketRecipe:
    """One model and its training: `steps` of `tokens_per_step` tokens.

    Every model is trained as a Llama. A Phi3 is the same function with its query, key and value matrices in one, and
    Muon, which gives all directions of a matrix equal steps, would treat the three as one.
    """

    name: str
    config: dict[str, Any]
    saved_as: str = "llama"  # or phi3
    steps: int = 3400
    tokens_per_step: int = 8192
    seed: int = 0
    muon_rate: float = 0.02
    adamw_rate: float = 3e-3
    warmup: int = 60
    threads: int = 1  # on a CPU; fixed, because how a sum is split among threads decides how it is rounded
    # (step, rate), joined by straight lines; to zero at the last step. Here twice, because the first end was too early.
    decay: tuple[tuple[int, float], ...] = ((900, 1.0), (1500, 0.7), (2400, 0.0), (2450, 0.35), (3400, 0.0))
    phases: tuple[Phase, ...] = PHASES

    def phase(self, step: int) -> Phase:
        return [phase for phase in self.phases if phase.start <= step][-1]

    def rate(self, step: int) -> float:
        """The share of the full learning rate at a step: linear up, flat, then along the lines of `decay`."""
        points = ((0, 1.0), *self.decay)
        for (start, high), (end, low) in zip(points, points[1:], strict=False):
            if step <= end:
                return min((step + 1) / self.warmup, high + (low - high) * (step - start) / (end - start))
        return 0.0


def _shape(**changes: Any) -> dict[str, Any]:
    return {
        "vocab_size": 4096,
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "intermediate_size": 640,
        "max_position_embeddings": WINDOW,
        "tie_word_embeddings": False,
        "rms_norm_eps": 1e-5,
        "initializer_range": 0.02,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
        **changes,
    }


RECIPES = {
    "pocket-llama": PocketRecipe(
        "pocket-llama",
        _shape(
            model_type="llama",
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            rope_parameters={"rope_type": "default", "rope_theta": theta(LLAMA3_SHARE)},
        ),
    ),
    # one key head a query head. Phi3-mini has 96 dimensions a head; three such heads learned much less than four of 64
    "pocket-phi": PocketRecipe(
        "pocket-phi",
        _shape(
            model_type="llama",
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=64,
            rope_parameters={"rope_type": "default", "rope_theta": theta(PHI3_SHARE)},
        ),
        saved_as="phi3",
        decay=((900, 1.0), (1600, 0.7), (2300, 0.4), (3400, 0.0)),
        phases=(*PHASES[:-1], LAST_OF_PHI),
    ),
}
