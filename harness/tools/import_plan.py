"""What an engine runs, as a plan.json: `ropebench import`, the other way of `ropebench export`."""

from pathlib import Path

from extenders._plan_file import pieces
from extenders.pinned import Pinned
from harness.experiment.parameters import hint
from harness.forms.configuration import own_temperature
from harness.forms.plan_file import Pieces, plan_file, text_of
from harness.forms.reading import READABLE, contents, two_plans_of
from harness.forms.two_plans import same_plan
from harness.model.spec import load_config, spec_from_config
from harness.rope.inference_scaling import without_inference_scaling


def import_plan(
    file: Path, model: str, target_length: int | None = None, trained_length: int | None = None, form: str | None = None
) -> tuple[str, list[str]]:
    """(text of a plan.json, notes). Raises ValueError, one line, for a file that holds no plan for this model."""
    if form is not None and form not in READABLE:
        raise ValueError(f"import: no form is named {form!r}; {hint(form, READABLE)}")
    config = load_config(model, local_files_only=False)
    rope = spec_from_config(config, trained_length)
    seen, content = contents(file)
    if form is not None and form != seen and (seen != "hf" or form in ("plan", "gguf", "llama.cpp")):
        raise ValueError(f"{file} is no file of the form {form}; it looks like {seen}")
    form = form or seen
    if form == "plan":
        stored = pieces(content, str(file))
        pinned = Pinned(target_length=stored[-1][1], file=content)
        pinned.plan(rope, stored[-1][1])  # refuses another model's
        return text_of(content), ["a plan.json already, and it fits this model"]
    known = not isinstance(config, dict)
    softmax = own_temperature(without_inference_scaling(config), rope.layer_type) if known else None
    plans = two_plans_of(form, content, rope, target_length, file, softmax)
    by_length = [(1, plans.trained, plans.short), (plans.trained + 1, plans.target, plans.long)]
    if same_plan(plans.short, plans.long):
        by_length = [(1, plans.target, plans.long)]
    written = plan_file(
        f"import of {file.name}", {"form": form}, model, rope, Pieces(plans.target, by_length, exact=True)
    )
    return text_of(written), [f"read as {form}, for prompts of up to {plans.target} tokens"]
