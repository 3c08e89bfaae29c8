"""Chat templates around RULER's questions; the answer prefix stands after them, inside the model's own turn.

The names are those of NVIDIA/RULER scripts/data/template.py, the forms those that the models were trained with. Those
of its names whose forms hold sentences are read from the checkout that $ROPEBENCH_RULER names. Any text with
{task_template} is a template too.
"""

import ast
import hashlib
import os
import string
from pathlib import Path

from tasks.ruler.wording import CHECKOUT

PLACE = "{task_template}"
TEMPLATES = {
    "base": PLACE,
    "meta-chat": f"[INST] {PLACE} [/INST]",
    "meta-llama3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
    f"{PLACE}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "Phi3": f"<|user|>\n{PLACE}<|end|>\n<|assistant|>\n",
    "command-r-chat": f"<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>{PLACE}<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    "chatglm-chat": f"[gMASK]sop<|user|> \n {PLACE}<|assistant|> \n ",
    "jamba": f"<|startoftext|><|bom|><|system|> <|eom|><|bom|><|user|> {PLACE}<|eom|><|bom|><|assistant|>",
    "nemotron5-instruct": f"<SPECIAL_10>System\n\n<SPECIAL_11>User\n{PLACE}\n<SPECIAL_11>Assistant\n",
}
OF_THE_CHECKOUT = {  # first digits of the SHA-256 of those that hold sentences, at c3f5e3b
    "vicuna-chat": "75462070807c0b73",
    "lwm-chat": "187539f9bb2250cf",
    "RWKV": "0e072dfbc9408f7a",
}


def with_template(template: str, task_template: str) -> str:
    """The task's template inside the model's. Raises ValueError for an unknown name or a text that holds no place."""
    form = TEMPLATES.get(template, template)
    if template in OF_THE_CHECKOUT:
        form = _of_the_checkout(template)
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(form) if field is not None]
    except ValueError:
        fields = []
    if fields != [PLACE.strip("{}")]:
        raise ValueError(
            f"template must be one of {', '.join([*TEMPLATES, *OF_THE_CHECKOUT])} or a text with {PLACE} once and no "
            f"other braces, got {template!r}"
        )
    return form.replace(PLACE, task_template)


def _of_the_checkout(name: str) -> str:
    """A template that RULER's own file holds. Raises ValueError without a checkout, or with another text in it."""
    folder = os.environ.get(CHECKOUT, "")
    path = Path(folder) / "scripts" / "data" / "template.py"
    if not folder or not path.is_file():
        raise ValueError(
            f"template {name} is read from a checkout of RULER; set {CHECKOUT} to one, or give it as a text"
        )
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tables = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    found = {name: form for table in tables for name, form in ast.literal_eval(table).items()}
    form = str(found.get(name, ""))
    if not hashlib.sha256(form.encode()).hexdigest().startswith(OF_THE_CHECKOUT[name]):
        raise ValueError(f"template {name} in {path} is not the known one; check out c3f5e3b")
    return form
