"""Chat templates around RULER's questions; the answer prefix stands after them, inside the model's own turn.

The names are those of NVIDIA/RULER scripts/data/template.py, the forms those that the models were trained with. Any
text with {task_template} is a template too.
"""

import string

PLACE = "{task_template}"
TEMPLATES = {
    "base": PLACE,
    "meta-chat": f"[INST] {PLACE} [/INST]",
    "meta-llama3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
    f"{PLACE}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "Phi3": f"<|user|>\n{PLACE}<|end|>\n<|assistant|>\n",
}


def with_template(template: str, task_template: str) -> str:
    """The task's template inside the model's. Raises ValueError for an unknown name or a text that holds no place."""
    form = TEMPLATES.get(template, template)
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(form) if field is not None]
    except ValueError:
        fields = []
    if fields != [PLACE.strip("{}")]:
        raise ValueError(
            f"template must be one of {', '.join(TEMPLATES)} or a text with {PLACE} once and no other braces, got "
            f"{template!r}"
        )
    return form.replace(PLACE, task_template)
