"""A trained model as a folder for transformers, with the plan that its weights were trained for."""

import json
from collections.abc import Callable
from pathlib import Path

from extenders.base import Extender
from harness.files_on_disk import write_whole
from harness.forms.plan_file import Pieces, plan_file, text_of
from harness.forms.proof import loaded as read_configuration
from harness.model.load import LoadedModel
from harness.tools.export import merged_configuration

PLAN = "plan.json"


def save_model(
    loaded: LoadedModel,
    extender: Extender,
    label: str,
    folder: Path,
    say: Callable[[str], None],
    in_configuration: bool = True,
) -> None:
    """Weights, tokenizer, plan.json and config.json with the plan in it.

    Where a configuration cannot say the plan, or without `in_configuration` (a search goes on from the original RoPE),
    it keeps the original RoPE, and a line says so.
    """
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    pieces = Pieces.of(extender, loaded.spec)
    content = plan_file(label, extender.parameters(), loaded.source, loaded.spec, pieces)
    write_whole(folder / PLAN, text_of(content) + "\n")
    reason = "a search goes on from there"
    if in_configuration:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        try:
            merged, _, notes = merged_configuration(extender, raw, read_configuration(raw), loaded.spec)
        except ValueError as error:
            reason = str(error)
        else:
            write_whole(folder / "config.json", json.dumps(merged, indent=2) + "\n")
            for line in (f"{folder}: the plan is in config.json, and all its numbers are in {PLAN}", *notes):
                say(line)
            return
    say(
        f"{folder}: config.json keeps the original RoPE ({reason}); the weights were trained for the plan in {PLAN}, "
        "which the method pinned runs"
    )
