"""The files beside the samples: an lm-eval task for each .jsonl file, groups of tasks, and how to run them."""

import json
from collections.abc import Sequence
from importlib import resources

README = """# Samples made by ropebench

Each `.jsonl` file is one test at one length; a line is one sample. Nothing is needed to read them:

| field | |
|---|---|
| `id` | name of the sample: same test, version, parameters, length, seed, number and text, same id |
| `prompt` | what the model gets, after the tokens that its tokenizer puts before every text (BOS) |
| `references` | what a right answer says |
| `new_tokens`, `stops` | where the answer ends, beside the model's own end token; decoding is greedy |
| `prompt_tokens` | true length with the tokenizer used here, `added_tokens` (BOS) included |
| `depth` | where the target stands, 0 = start, 1 = end, where a test has one |
| `scoring` | the function of ropebench that scores an answer: `tasks.scoring.score(name, answer, references)` |
| `scored`, `scored_tokens` | instead, for perplexity: the text whose loss is measured, given `prompt` |
| `others`, `values` | wrong values that stand in the prompt too, where a test knows them |
| `check` | first digits of the SHA-256 of what follows it on the line |
| `test`, `version`, `parameters`, `length`, `seed`, `sample`, `extra` | how the sample was made |

With lm-eval and ropebench installed in one environment the stock command runs them with any backend:

```
{command}
```

`max_length` must hold the longest prompt with its answer ({longest} tokens here): lm-eval cuts the beginning off what
is longer, and says so only in a warning.
"""


def task_file_text(name: str, version: int, new_tokens: int, loss: bool) -> str:
    """The lm-eval task of `<name>.jsonl`."""
    generation = f"generation_kwargs: {{do_sample: false, temperature: 0.0, max_gen_toks: {new_tokens}, until: []}}\n"
    return (
        "# Made by ropebench generate.\n"
        f"task: {name}\n"
        "custom_dataset: !function utils.samples\n"
        "test_split: test\n"
        f"output_type: {'loglikelihood' if loss else 'generate_until'}\n"
        "doc_to_text: prompt\n"
        "doc_to_target: target\n"
        'target_delimiter: ""\n'
        f"process_results: !function utils.{'scored_loss' if loss else 'scored_answer'}\n"
        f"{'' if loss else generation}"
        "metric_list:\n"
        f"  - {{metric: score, aggregation: mean, higher_is_better: {'false' if loss else 'true'}}}\n"
        f"metadata: {{version: {version}, file: {json.dumps(name + '.jsonl')}}}\n"
    )


def group_file(name: str, members: Sequence[str]) -> str:
    """A group of tasks whose mean counts every task alike."""
    return (
        "# Made by ropebench generate.\n"
        f"group: {name}\n"
        f"task: {json.dumps(list(members))}\n"
        "aggregate_metric_list:\n"
        "  - {metric: score, aggregation: mean, weight_by_size: false}\n"
        "metadata: {version: 1}\n"
    )


def utils_file() -> str:
    return (resources.files("harness.prompts.elsewhere") / "utils.py").read_text(encoding="utf-8")
