"""A plan as it leaves: `ropebench export` and `ropebench import`.

Forms: hf (the checkpoint's own config.json with the plan in it), vllm and sglang (what overrides its configuration),
mlx (a config.json), llama.cpp (options of its command line), gguf (factor tensors and fields in a GGUF file), plan
(plan.json: all numbers, the truth). A native type of the engine is written where the plan is one, transformers'
`longrope` with both lists where it is not. What a form cannot say is refused with a reason, and nothing is written
that was not loaded again and compared with the plan at three lengths (`harness.forms.proof`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extenders._factor_file import STOPPED
from extenders.base import Extender, RopeSpec
from harness.experiment.cells import plan_signature
from harness.experiment.file import Method, named_method
from harness.experiment.naming import load_method, user_folders
from harness.experiment.parameters import hint
from harness.forms import configuration, engines, gguf_file, llama_cpp, native
from harness.forms.plan_file import Pieces, plan_file, text_of
from harness.forms.proof import NotThePlan, prove
from harness.forms.two_plans import TwoPlans, alike, two_plans
from harness.model.locate import config_file
from harness.model.spec import load_config, spec_from_config
from harness.rope.configuration import factor_reaches_whole_logit
from harness.rope.inference_scaling import without_inference_scaling
from harness.search import result

FORMS = ("hf", "vllm", "sglang", "mlx", "llama.cpp", "gguf", "plan")


@dataclass(frozen=True)
class ReadCheckpoint:
    """A model's configuration as it stands and as it is read."""

    name: str
    raw: Mapping[str, Any]
    config: Any  # of transformers, or a dictionary where it does not know the type
    rope: RopeSpec


def export(
    extender: str,
    given: Mapping[str, Any],
    model: str,
    target_length: int,
    trained_length: int | None = None,
    search: Path | None = None,
    *,
    form: str = "hf",
    always_long: bool = False,
    out: Path | None = None,
) -> tuple[str, list[str]]:
    """(the text of the form, notes for the user) of a method by name on a model; weights are not needed.

    `search`: the result of a search, whose numbers the method has unless they are given. `always_long`: the plan of the
    target length for every prompt. `out` is written only by the form gguf. Raises ValueError, one line.
    """
    if form not in FORMS:
        raise ValueError(f"export: no form is named {form!r}; {hint(form, FORMS)}")
    load_method("export", extender, user_folders())  # a wrong name is said before a wrong file
    given = given if search is None else {**result.read(search, extender, target_length), **given}
    method = named_method("export", extender, given, target_length)
    if method.extender.cuts_context:
        raise ValueError(f"export: {extender} cuts prompts and changes no frequency, so there is nothing to write")
    checkpoint = read_checkpoint(model, trained_length)
    if target_length > checkpoint.rope.trained_length:  # else it is refused further on
        plan_signature(method, checkpoint.rope, target_length)  # raises for what is no plan
    if form == "plan":
        return _plan(method, checkpoint)
    if isinstance(checkpoint.config, dict):
        kind = checkpoint.raw.get("model_type")
        raise ValueError(
            f"transformers does not know the model type {kind!r}, so what would run cannot be compared with the plan; "
            "use --format plan"
        )
    if form in ("llama.cpp", "gguf"):
        return _for_llama_cpp(method.extender, checkpoint, form, always_long, out)
    if form == "hf":
        return _for_transformers(method.extender, checkpoint, always_long)
    return _for_engine(form, method.extender, checkpoint, always_long)


def exported(extender: Extender, rope: RopeSpec) -> tuple[dict[str, Any], list[str]]:
    """(keys of a configuration, notes) in the form of two lists, where no checkpoint is at hand to prove it with."""
    plans = two_plans(extender, rope)
    if plans.multiplies:
        raise ValueError("the plan multiplies the whole attention logit, which two lists cannot say; use --format plan")
    notes = []
    if plans.factors_differ:
        notes.append(
            f"attention_factor {plans.long.attention_factor:.6g} will be applied within the window too, where the plan "
            f"has {plans.short.attention_factor:.6g}: the form has one for both"
        )
    content = {"max_position_embeddings": plans.target, "rope_parameters": configuration.longrope(plans)}
    return content, [*notes, *_notes(plans)]


def read_checkpoint(model: str, trained_length: int | None = None) -> ReadCheckpoint:
    config = load_config(model, local_files_only=False)
    raw = json.loads(config_file(model, local_files_only=False).read_text(encoding="utf-8"))
    return ReadCheckpoint(model, raw, config, spec_from_config(config, trained_length=trained_length))


def merged_configuration(
    extender: Extender, raw: Mapping[str, Any], config: Any, rope: RopeSpec, always_long: bool = False
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """(config.json with the plan in it, its RoPE dictionary, notes), proved. Raises ValueError, one line."""
    raw, config = _as_trained(raw, config, rope)
    growing = None if always_long else native.dynamic(extender, rope)
    if growing is not None:
        return _growing(extender, growing, raw, config, rope)
    plans = _sayable(two_plans(extender, rope, always_long), config)
    old = configuration.old_parameters(config, rope.layer_type)
    as_type = configuration.native_type(plans, extender, old)
    for parameters in [as_type] if as_type else []:
        content = _placed(parameters, old, raw, config, plans)
        try:
            prove(raw, content[0], rope, plans.lengths)
            return *content, _notes(plans)
        except NotThePlan:  # Phi-3 takes no type but longrope
            pass
    if plans.factors_differ and old.get("short_mscale") is None:
        raise ValueError(
            f"the plan has the attention factor {plans.short.attention_factor:.6g} for prompts within the trained "
            f"length and {plans.long.attention_factor:.6g} beyond it, and transformers has one for both; use "
            "--always-long, which writes the plan of the target length for every prompt, or --format vllm"
        )
    content = _placed(configuration.longrope(plans), old, raw, config, plans)
    prove(raw, content[0], rope, plans.lengths)
    return *content, _notes(plans)


def _as_trained(raw: Mapping[str, Any], config: Any, rope: RopeSpec) -> tuple[Mapping[str, Any], Any]:
    """config.json and configuration without a scaling that was put there for inference, which a model runs without."""
    base = without_inference_scaling(config)
    if base is config:
        return raw, config
    parameters, maximum = configuration.old_parameters(base, rope.layer_type), base.get_text_config()
    return configuration.merged(raw, config, parameters, maximum.max_position_embeddings, rope.layer_type), base


def _sayable(plans: TwoPlans, config: Any) -> TwoPlans:
    """Plans as a configuration can say them. Raises ValueError where the family has no key for the whole logit."""
    if plans.multiplies and factor_reaches_whole_logit(config, plans.rope):
        return plans.on_cos_and_sin()
    text = config.get_text_config()
    if plans.multiplies and not configuration.latent(text):
        raise ValueError(
            f"the plan multiplies the whole attention logit by {plans.long.query_factor:.6g}, and the configuration of "
            f"a {text.model_type} model has no key for that (DeepSeek's latent attention has); use --format plan, or "
            "the method without whole_logit"
        )
    return plans


def _placed(
    parameters: dict[str, Any], old: Mapping[str, Any], raw: Mapping[str, Any], config: Any, plans: TwoPlans
) -> tuple[dict[str, Any], dict[str, Any]]:
    new = configuration.with_kept(parameters, old, plans)
    return configuration.merged(raw, config, new, plans.target, plans.rope.layer_type), new


def _growing(
    extender: Extender, parameters: dict[str, Any], raw: Mapping[str, Any], config: Any, rope: RopeSpec
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """transformers' `dynamic`, which counts from max_position_embeddings: that must stay the trained length."""
    trained, target = rope.trained_length, extender.target_length
    plans = TwoPlans(rope, target, extender.plan(rope, trained), extender.plan(rope, target))
    old = configuration.old_parameters(config, rope.layer_type)
    new = configuration.with_kept(parameters, old, plans)
    content = configuration.merged(raw, config, new, trained, rope.layer_type)
    lengths = [(length, extender.plan(rope, length)) for length in (trained, (trained + target) // 2, target)]
    prove(raw, content, rope, lengths)
    return (
        content,
        new,
        [
            f"max_position_embeddings stays {trained}, from which this type counts",
            "transformers takes the length from what it has seen so far: while it generates, and after a longer "
            "prompt, it runs with another base than the method, and keys in the cache keep the old one",
        ],
    )


def _notes(plans: TwoPlans) -> list[str]:
    notes = [engines.on_softmax(plans)] if plans.multiplies else []
    if plans.switches:
        notes.append(
            "transformers switches lists when a sequence passes the original length: a generation that crosses it "
            "keeps keys of the short list, and one long row of a batch switches all; vLLM and llama.cpp choose one "
            "list per deployment, by their greatest length"
        )
    return [*notes, *_stopped(plans)]


def _stopped(plans: TwoPlans) -> list[str]:
    if not plans.stopped:
        return []
    return [
        f"{plans.stopped} of {len(plans.long.inv_freq)} pairs are stopped, written as a factor of {STOPPED:g}; an "
        "engine that computes with float16 cannot hold that number"
    ]


def _plan(method: Method, checkpoint: ReadCheckpoint) -> tuple[str, list[str]]:
    extender, rope = method.extender, checkpoint.rope
    if extender.target_length <= rope.trained_length:
        raise ValueError(
            f"target length {extender.target_length} must be above the trained length {rope.trained_length}; there is "
            "nothing to export"
        )
    pieces = Pieces.of(extender, rope)
    content = plan_file(method.label, extender.parameters(), checkpoint.name, rope, pieces)
    notes = [] if pieces.exact else ["this method has a plan of its own for every length; the file holds some of them"]
    return text_of(content), notes


def _for_transformers(extender: Extender, checkpoint: ReadCheckpoint, always_long: bool) -> tuple[str, list[str]]:
    content, _, notes = merged_configuration(extender, checkpoint.raw, checkpoint.config, checkpoint.rope, always_long)
    return _text(content), notes


def _for_engine(form: str, extender: Extender, checkpoint: ReadCheckpoint, always_long: bool) -> tuple[str, list[str]]:
    rope = checkpoint.rope
    raw, config = _as_trained(checkpoint.raw, checkpoint.config, rope)
    plans = _sayable(_fixed(form, extender, rope, always_long), config)
    old = configuration.old_parameters(config, rope.layer_type)
    parameters = configuration.native_type(plans, extender, old)
    if parameters is None or not engines.says(form, parameters, plans):
        parameters = configuration.longrope(plans)
    ours = configuration.with_kept(parameters, old, plans)
    content = configuration.merged(raw, config, ours, plans.target, rope.layer_type)
    # what transformers has no word for is left out of its proof: another factor for short prompts
    lengths = plans.lengths[1:] if plans.factors_differ else plans.lengths
    layouts = prove(raw, content, rope, lengths)
    theirs = engines.keys(form, ours, plans)
    engines.check(form, theirs, plans, "mla" if configuration.latent(config.get_text_config()) else "", layouts)
    content = configuration.merged(raw, config, theirs, plans.target, rope.layer_type)
    if form == "mlx":
        content = engines.with_old_names(content, theirs, rope.layer_type)
    else:
        content = configuration.overrides(content, checkpoint.raw)
    return _text(content), engines.notes(form, theirs, plans)


def _fixed(form: str, extender: Extender, rope: RopeSpec, always_long: bool) -> TwoPlans:
    if not always_long and native.dynamic(extender, rope) is not None and not _constant(extender, rope):
        raise ValueError(
            f"this method has a base for every length, and {form} computes one when it starts; use --always-long, "
            "which writes the base of the target length for every prompt"
        )
    return two_plans(extender, rope, always_long)


def _constant(extender: Extender, rope: RopeSpec) -> bool:
    middle = extender.plan(rope, (rope.trained_length + extender.target_length + 1) // 2)
    return alike(middle.inv_freq, extender.plan(rope, extender.target_length).inv_freq)


def _for_llama_cpp(
    extender: Extender, checkpoint: ReadCheckpoint, form: str, always_long: bool, out: Path | None
) -> tuple[str, list[str]]:
    plans = _sayable(_fixed(form, extender, checkpoint.rope, always_long), checkpoint.config)
    if plans.multiplies:
        raise ValueError(
            "llama.cpp has no option for a factor on the whole attention logit where a part of the head rotates; use "
            "--format plan, or the method without whole_logit"
        )
    kind = str(checkpoint.raw.get("model_type"))
    if form == "llama.cpp":
        parameters = native.native(plans, extender)
        if parameters is None:
            raise ValueError(llama_cpp.NO_OPTIONS)
        return " ".join(llama_cpp.flags(parameters, plans, kind)), llama_cpp.notes(plans)
    if out is None or out.suffix != ".gguf":
        raise ValueError("the form gguf is a binary file: name it with --out FILE.gguf")
    written = gguf_file.write(out, checkpoint.name, plans, kind)
    return f"{out}", [*written, *llama_cpp.notes(plans), *_stopped(plans)]


def _text(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
