"""Which families of models work: tiny models with random weights and the RoPE fields of real checkpoints, read, run
under the identity and under a plan, and continued with a cache. `python -m harness.tools.families > docs/families.md`.

Configurations are in families.json: facts of public config.json files, many from memory of published values and not
looked up again; sizes are made tiny, factor lists are stand-ins of the right length, and names with auto- are
model types of transformers with their default fields. Tiny random weights show whether cos and sin are the right ones
and reach the logits; they show nothing about what a method does to a trained model.
"""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from extenders.base import RopePlan, RopeSpec
from extenders.yarn import Yarn
from harness.model.answers import check_answers
from harness.model.logits import head, hidden_states
from harness.model.quiet import quiet
from harness.model.spec import known_config, spec_from_config
from harness.rope.applied import applied
from harness.rope.inference_scaling import without_inference_scaling
from harness.tools.export import merged_configuration

TOKENS = 24  # of the prompt that every family reads
NEW_TOKENS = 4
SCALE = 4  # of the YaRN plan
EXPORTED = 1e-5  # greatest difference of a logit under an exported and an applied plan, relative to the greatest logit
ROUNDING = 2.0**-26  # more of it for each token of a far position: frequencies differ in their last bit of float32
CACHED = 1e-4  # greatest difference of a logit, cached decoding against one pass, relative to the greatest logit
HEAD = (
    "| checkpoint | model type | read: d, θ, trained length, f | applied | decoded | exported | notes |\n"
    "|---|---|---|---|---|---|---|"
)

INTRODUCTION = """# Families of models

What `python -m harness.tools.families` found: every row is a tiny model with random weights and the RoPE fields of a
real checkpoint (many from memory of published values, not looked up again), or, where the name begins with auto-, a
model type of transformers with its default fields. Rows say whether cos and sin are right and reach the logits, not
what a method does to a trained model. `make test` checks 30 rows, `make test-full` all.

- **read**: rotated dimensions, θ, trained length in tokens, attention factor as trained, compared with what they must
  be.
- **applied**: the identity leaves all logits the same bits in float32 and bfloat16; a YaRN plan is read back from the
  live model in both, changes the logits, and leaves nothing behind.
- **decoded**: under the plan, tokens one by one from a cache, and body and head apart, give the logits of one pass.
- **exported**: the rope type in which `ropebench export` writes that plan into the family's configuration; loaded again
  on the same weights it gives the logits of the plan in place, inside the window to 1e-5 of the greatest logit, and at
  the window's end to what the last bit of a float32 frequency turns there besides.
- **notes**: what is said of the model, or why it is refused.

"""


@dataclass(frozen=True)
class FamilyRow:
    """One family. An empty cell is a step that was not reached; `refused` says why, in the words that a user sees."""

    name: str
    model_type: str
    read: str = ""
    applied: str = ""
    decoded: str = ""
    exported: str = ""
    refused: str = ""
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        words = self.refused or "; ".join(self.notes)
        cells = [self.name, self.model_type, self.read, self.applied, self.decoded, self.exported, words]
        return f"| {' | '.join(cells)} |"


def families() -> dict[str, dict[str, Any]]:
    """name → {"config": content of a config.json, "expected": what must be read, where it is known}."""
    text = resources.files("harness.tools").joinpath("families.json").read_text(encoding="utf-8")
    content: dict[str, dict[str, Any]] = json.loads(text)["families"]
    return content


def listed() -> Iterator[tuple[str, str, list[str]]]:
    """(name, what is read of it or why it is refused, notes) of every family, by its configuration alone."""
    for name, family in families().items():
        kind = family["config"].get("model_type")
        try:
            spec = spec_from_config(family["config"], family.get("trained_length"))
        except ValueError as refusal:
            yield name, str(refusal), []
            continue
        trained = f"trained length {spec.trained_length} tokens, rope_theta {spec.rope_theta:g}"
        yield name, f"model type {kind}, {trained}, {spec.rotary_dims // 2} rotary pairs", list(spec.notes)


def row_of(name: str, family: Mapping[str, Any]) -> FamilyRow:
    """Reads, applies and decodes one family. Raises AssertionError where what is read or run is wrong, never for a
    refusal."""
    config = family["config"]
    row = FamilyRow(name, str(config.get("model_type")))
    try:
        spec = spec_from_config(config, family.get("trained_length"))
    except ValueError as refusal:
        return replace(row, refused=str(refusal))
    _check_read(name, spec, family.get("expected"))
    read = f"{spec.rotary_dims}, {spec.rope_theta:g}, {spec.trained_length:,}, {spec.attention_factor:.6g}"
    try:
        model = tiny_model(config)
        with applied(model, spec):
            check_answers(model)
    except ValueError as refusal:
        return replace(row, read=read, refused=str(refusal), notes=spec.notes)
    row = replace(row, read=read, notes=spec.notes)
    return replace(
        row,
        applied=_applied(name, model, spec),
        decoded=_decoded(name, model, spec),
        exported=_exported(name, config, model, spec),
    )


def tiny_model(content: Mapping[str, Any]) -> Any:
    """A model of that configuration with random weights, in float32. Raises ValueError in one line."""
    config = known_config(content)
    if not isinstance(config, PreTrainedConfig):
        raise ValueError(f"transformers does not know the model type {content.get('model_type')!r}")
    model = _of_config(without_inference_scaling(config))
    for parameter in model.parameters():  # larger than at initialisation, so that attention is not flat
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def _of_config(config: PreTrainedConfig) -> Any:
    torch.manual_seed(0)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        except ImportError as error:
            raise ValueError(f"not tried: {str(error).strip().splitlines()[0]}") from None
        except ValueError as error:
            if "Unrecognized configuration class" not in str(error):
                raise
            raise ValueError(f"a {config.model_type} model is no causal language model") from None
    return model


def _check_read(name: str, spec: RopeSpec, expected: Mapping[str, Any] | None) -> None:
    for key, value in (expected or {}).items():
        read = getattr(spec, key)
        right = read == value if isinstance(value, str) else abs(read - value) <= 1e-9 * abs(value)
        assert right, f"{name}: {key} is read as {read}, and is {value}"


def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return logits


def _ids(length: int) -> torch.Tensor:
    return torch.randint(3, 90, (1, length), generator=torch.Generator().manual_seed(length))


def _yarn(spec: RopeSpec) -> RopePlan:
    return Yarn(target_length=SCALE * spec.trained_length).plan(spec, SCALE * spec.trained_length)


def _applied(name: str, model: Any, spec: RopeSpec) -> str:
    """The identity, bit by bit in both dtypes, and a YaRN plan, read back in both and felt by the logits."""
    ids, plan = _ids(TOKENS), _yarn(spec)
    moved = 0.0
    for dtype in (torch.float32, torch.bfloat16):
        _cast(model, dtype)
        before = _logits(model, ids)
        with applied(model, spec) as rotary:
            assert torch.equal(_logits(model, ids), before), f"{name}: the identity changes logits in {dtype}"
            rotary.use(plan)
            rotary.prove(spec.trained_length, plan)
            moved = max(moved, float((_logits(model, ids) - before).abs().max()))
        assert torch.equal(_logits(model, ids), before), f"{name}: the plan stays after its block in {dtype}"
    _cast(model, torch.float32)
    assert moved > 0, f"{name}: a plan has no effect"
    return "yes"


def _cast(model: Any, dtype: torch.dtype) -> None:
    """The model in another dtype, as a load gives it: frequencies keep theirs."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and "inv_freq" not in name:
            buffer.data = buffer.data.to(dtype)


def _decoded(name: str, model: Any, spec: RopeSpec) -> str:
    """Hidden states and head in two steps, and tokens one by one from a cache, against one pass, under a plan."""
    ids = _ids(TOKENS + NEW_TOKENS)
    with applied(model, spec) as rotary, torch.no_grad():
        rotary.use(_yarn(spec))
        whole = _logits(model, ids)
        two_steps = head(model, hidden_states(model, ids))
        output = model(input_ids=ids[:, :TOKENS], use_cache=True)
        parts = [output.logits]
        for i in range(TOKENS, TOKENS + NEW_TOKENS):
            position = torch.tensor([[i]])
            output = model(
                input_ids=ids[:, i : i + 1],
                position_ids=position,
                past_key_values=output.past_key_values,
                use_cache=True,
            )
            parts.append(output.logits)
    greatest = float(whole.abs().max())
    for what, logits in (("its head", two_steps), ("cached decoding", torch.cat(parts, dim=1))):
        gap = float((logits - whole).abs().max()) / greatest
        assert gap <= CACHED, f"{name}: {what} differs from one pass by {gap:.2g}"
    return "yes"


def _exported(name: str, content: Mapping[str, Any], model: Any, spec: RopeSpec) -> str:
    """The plan in the family's own configuration, on the same weights, against the plan in place; or the refusal."""
    target = SCALE * spec.trained_length
    try:
        merged, parameters, _ = merged_configuration(
            Yarn(target_length=target), content, known_config(content), spec, always_long=True
        )
    except ValueError as refusal:
        return f"refused: {refusal}"
    other = _of_config(known_config(merged))
    other.load_state_dict(model.state_dict())
    ids = _ids(TOKENS)
    with torch.no_grad(), quiet():
        for start in (0, spec.trained_length):  # inside the window and beyond it
            positions = start + torch.arange(TOKENS)[None]
            with applied(model, spec) as rotary:
                rotary.use(_yarn(spec))
                wanted = model(input_ids=ids, position_ids=positions, use_cache=False).logits
            got = other(input_ids=ids, position_ids=positions, use_cache=False).logits
            gap = float((got - wanted).abs().max()) / float(wanted.abs().max())
            assert gap <= EXPORTED + ROUNDING * start, f"{name}: exported, logits differ by {gap:.2g} at {start} tokens"
    return str(parameters["rope_type"])


def rows(names: Iterable[str] | None = None) -> Iterator[FamilyRow]:
    every = families()
    for name in every if names is None else names:
        yield row_of(name, every[name])


def page(lines: Iterable[str]) -> str:
    """docs/families.md of the lines of all rows."""
    return INTRODUCTION + HEAD + "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    made = []
    for row in rows(sys.argv[1:] or None):
        made.append(row.line)
        print(row.line, file=sys.stderr, flush=True)
    print(page(made), end="")
