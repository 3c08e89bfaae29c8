"""A model under a method as a model of lm-eval, so that any of its tasks runs under any plan.

    ropebench lm-eval run --tasks ifeval --model ropebench --model_args pretrained=M,extender=yarn,target_length=131072

lm-eval finds models in a registry that programs fill before they start it and has no way to find one by itself; so the
command fills it, and hands over. Every prompt runs under its own plan, as in a run, and none is cut: one that is longer
than `target_length` with its answer ends the evaluation in one line.
"""

import sys
from contextlib import ExitStack
from typing import Any

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.registry import register_model

from harness.experiment.parameters import hint
from harness.model.load import load_model
from harness.tools.ask import under
from tasks.short.through_lm_eval import Adapter

GIVEN = "cuda:0"  # what it gives for a device where the user says none, also where there is no GPU
OF_LM_EVAL = ("batch_size", "max_batch_size")  # it always gives them; prompts are joined by our own rule


@register_model("ropebench")
class RopebenchLM(Adapter):
    """`pretrained` and `extender` are named as on our command line; other words are parameters of the method.

    Raises ValueError, one line, for what they do not know.
    """

    def __init__(
        self,
        pretrained: str = "",
        extender: str = "none",
        target_length: int = 0,
        dtype: str = "auto",
        attention: str = "auto",
        device: str | None = None,
        trained_length: int | None = None,
        over_length: str = "refuse",
        **parameters: Any,
    ) -> None:
        if not pretrained or not isinstance(target_length, int) or target_length < 1:
            raise ValueError(
                "--model ropebench wants --model_args pretrained=MODEL,extender=METHOD,target_length=TOKENS, got "
                f"pretrained={pretrained!r}, target_length={target_length!r}"
            )
        if over_length not in ("refuse", "middle"):
            raise ValueError(f"over_length is {over_length!r}; {hint(over_length, ('refuse', 'middle'))}")
        loaded = load_model(
            pretrained,
            dtype=dtype,
            attention="sdpa" if attention == "auto" else attention,
            device="auto" if device in (None, GIVEN) else device,
            local_files_only=False,
            trained_length=trained_length,
        )
        given = {name: value for name, value in parameters.items() if name not in OF_LM_EVAL}
        self._open = ExitStack()  # for as long as the process lives: lm-eval has no word for the end of a model
        lm = self._open.enter_context(under(loaded, extender, target_length, given))
        super().__init__(lm, target_length, test="ropebench lm-eval", over_length=over_length)
        self._said = {"weights": loaded.weights_hash, "dtype": loaded.dtype, "plan": lm.plan_hash(target_length)}

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes into its results: hashes of the weights, and of the plan at the target length."""
        return dict(self._said)

    @property
    def tokenizer_name(self) -> str:
        """Asked for where prompts are to stand in a chat template, first of all."""
        raise ValueError(
            "--apply_chat_template is not for --model ropebench, which reads every prompt as text; an experiment "
            "with `chat: model` asks in the model's own template"
        )


def run_lm_eval(words: list[str]) -> int:
    """lm-eval's own command line with these words; its exit code."""
    before, sys.argv = sys.argv, ["ropebench lm-eval", *words]
    try:
        cli_evaluate()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.argv = before
    return 0
