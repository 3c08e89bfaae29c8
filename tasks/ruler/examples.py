"""`docs/ruler.md`: where the profiles differ, and three samples of every row, so that a person can read what is asked.

    python -m tasks.ruler.examples > docs/ruler.md

Prompts are made by the tests themselves, for 4,096 words and marks (512 in `ruler-pocket`; no tokenizer is needed for
that), and shortened to their beginning, their end and what they hide.
"""

import random
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from tasks import ruler
from tasks.ruler import exact

SAMPLES, OF, AROUND, OPENING, ENDING, PLACES = 3, 12, 70, 170, 210, 5

# what tests/ruler_costs.py wrote
COSTS = """| row | NVIDIA's search | sample | 100 samples | our search | sample | 100 samples | share of NVIDIA's |
|---|---|---|---|---|---|---|---|
| niah_single_1 | 18.28 | 0.745 | 0.928 | 1.21 | 0.0007 | 0.0476 | 0.1%; 5.1% |
| niah_single_2 | 36.13 | 1.055 | 1.416 | 2.64 | 0.0071 | 0.0627 | 0.7%; 4.4% |
| niah_single_3 | 29.74 | 1.866 | 2.163 | 1.53 | 0.0110 | 0.0463 | 0.6%; 2.1% |
| niah_multikey_1 | 33.72 | 1.954 | 2.291 | 2.26 | 0.0279 | 0.0842 | 1.4%; 3.7% |
| niah_multikey_2 | 32.49 | 0.988 | 1.313 | 2.67 | 0.0478 | 0.1263 | 4.8%; 9.6% |
| niah_multikey_3 | 26.77 | 1.045 | 1.313 | 1.90 | 0.1049 | 0.1439 | 10.0%; 11.0% |
| niah_multivalue | 35.36 | 1.844 | 2.197 | 2.07 | 0.0168 | 0.0714 | 0.9%; 3.2% |
| niah_multiquery | 38.14 | 1.294 | 1.676 | 1.48 | 0.0082 | 0.0516 | 0.6%; 3.1% |
| vt | 7.62 | 1.241 | 1.317 | 1.43 | 0.0113 | 0.0642 | 0.9%; 4.9% |
| cwe | 7.76 | 1.122 | 1.199 | 1.85 | 0.0326 | 0.0890 | 2.9%; 7.4% |
| fwe | 3.50 | 0.850 | 0.885 | 1.41 | 0.0306 | 0.0676 | 3.6%; 7.6% |
| qa_1 | 5.00 | 0.453 | 0.503 | 1.44 | 0.0058 | 0.0536 | 1.3%; 10.7% |
| qa_2 | 6.97 | 0.609 | 0.679 | 2.30 | 0.0136 | 0.0713 | 2.2%; 10.5% |"""

DIFFERENCES = """| | `ruler-head` | `ruler-paper` | `ruler-pocket` |
|---|---|---|---|
| what it is | NVIDIA's main, c3f5e3b | e40fae1, behind the published table | our own, for a window of 512 tokens |
| comparable with | numbers made since 10 July 2025, when cwe changed | the paper and its leaderboard | pocket models \
only |
| size of a prompt | one size for all samples, by bisection | one size, step by step, with the answer counted | \
every sample filled to the length |
| a sample too long | drawn again, one step smaller | the same | cannot happen |
| new tokens | niah 128, vt 30, cwe 120, fwe 50, qa 32 | the same | niah 16 or 48, vt 30, cwe 64, fwe 24, qa 12 |
| length counts | prefix and new tokens, no BOS | the same; fwe passes it by up to 50, vt by a few | BOS too |
| seed | 42 + seed; qa runs with one, its questions never change | the same | own |
| sample i | same for any number of samples; depends on tokenizer and length | the same | depends on seed and i only |
| keys held out from training | no | no | yes |
| essays | Paul Graham's, from the start if too short | end where they end | stories of the invented world |
| vt lines | one per line | joined by spaces, noise ends in a newline | as in head |
| vt example | 500 tokens; names and value new in every sample | 500 tokens; drawn once, white space squeezed | \
without noise, new in every sample |
| vt prefix | "assigned" | misspelled | as in head |
| cwe words | `english_words.json` above 8,166 words | stops at 8,166, so under-filled at 128k | 8,166 |
| cwe example | a space before its answers | none | no example; words 5 times and once, more often where \
they run out |
| qa | SQuAD, HotpotQA; repeated if too short | the same; shuffled for good once all are taken | invented world |
| score | share of references found, for qa any of them | the same | the same |
"""

INTRODUCTION = """# RULER

Written by `python -m tasks.ruler.examples` from the tests themselves; do not edit.

RULER (arXiv:2404.06654) has 13 tasks, and its generator changed so much since the paper that vt, cwe and fwe scores of
different versions cannot be compared. A profile's name therefore stands in every score's name:

{differences}
The exact profiles make the prompts of NVIDIA's own generator to the byte, given the same tokenizer, word lists
(wonderwords 3.0.1), files and seed: `tests/goldens/ruler.json` holds digests, `tests/ruler_goldens.py` makes them again
from checkouts of both commits: at 4,096 tokens all 13 rows of both commits with four tokenizers (one of ours,
SmolLM2's, Claude's, DeepSeek's) and part of them with Mistral's, 6 to 20 samples each; at 32,768 and 131,072 tokens the
six rows without essays and questions of both commits with ours and SmolLM2's, 2 to 6 samples each. Where more were
made, the keys of that file say so. `tests/ruler_tokenizers.py` makes the tokenizers of others again, from wheels of the
package index, each with its version and digest. In a checkout without these tokenizers the goldens of our own run,
the others are skipped with a reason. Not held to the scripts: tokenizers whose pieces cross spaces (there every prompt
is tokenised), `--remove_newline_tab`, and chunks of a data set.

`ruler-head` stands for main, which has not changed a prompt since 10 July 2025. NVIDIA's README calls this pipeline
deprecated and sends to two branches, `rulerv1-ns` and `rulerv2-ns`, which run in NeMo-Skills. RULERv2 is another test,
see [below](#rulerv2).

How hard a row is can be set, by the names of RULER's own `synthetic.yaml`: `num_needle_k`, `num_needle_v` and
`num_needle_q` of the needle rows, `num_chains` and `num_hops` of vt (up to 4 hops: NVIDIA's script ends with an error
above), `freq_cw`, `freq_ucw` and `num_cw` of cwe (from 4,096 tokens on; its question asks for 10 words all the same),
`alpha` of fwe. Such a row is none of the 13: tables call it `ruler-head+num_hops=2/vt`, and no average under RULER's
name holds it. Goldens hold these settings to the scripts too. RULER's averages weighted by length (wAvg) stand in the
report. Its stop words are empty by default, and these profiles have none.

A right value counts wherever it stands in the answer, inside other words and numbers too, case ignored: 12345678 holds
1234567, and nothing holds no. That is RULER's rule, and the report says it beside the rows.

All samples of a run come from one random stream, of which the search for the size takes the beginning;
so nothing about a sample can be said without its tokenizer and length, and all 500 samples share one layout in cwe, fwe
and qa: they are not 500 independent positions.

## Data

| rows | file | from |
|---|---|---|
| niah_single_2, niah_single_3, niah_multikey_1, niah_multivalue, niah_multiquery | `PaulGrahamEssays.json` | \
RULER's download script; nltk's punkt_tab splits it (from nltk's own download, or from the package llama-index-core, \
which carries a copy: `pip install --no-deps llama-index-core`) |
| qa_1 | `squad.json` | SQuAD dev-v2.0 |
| qa_2 | `hotpotqa.json` | HotpotQA dev distractor |
| cwe above 8,166 words (about 128k tokens) | `english_words.json` | RULER's checkout (git lfs pull) |

Name the folder that has them, `{{ruler-head: {{folder: path/to/RULER}}}}`, or set `ROPEBENCH_RULER` to a checkout (its
wording is read too then). `python -m tasks.ruler.fetch FOLDER` writes what the hub has. Without any of it, the rows of
`ruler-head+standin` and `ruler-paper+standin` take their data from the invented world of the pocket models; their
scores are no scores of RULER's and belong in no mean of its 13 tasks.

A chat model takes `template: meta-llama3`, or another of RULER's names, or a text with `{{task_template}}`; the answer
prefix stands in the model's own turn then. vicuna-chat, lwm-chat and RWKV are read from the checkout. Prompts that
are too long are refused, never cut.

## RULERv2

`rulerv2/` and one of mk_niah, mv_niah and qa with one of _basic, _easy, _medium and _hard: twelve rows. The two needle
rows called basic need no data and are those of NeMo-Skills at 8779b75, to the byte. The ten others read MMLU and
HotpotQA; they are held to `prepare_mmlu.py` and `prepare_qa.py` of 5536f54, with invented data in the columns of the
real ones: `tests/rulerv2_goldens.py` makes the digests of prompts and right answers again. No checkout of that commit
was at hand: its two scripts were made from those of 991a7432 and bfff3a05 by the changes that its text shows, to the
same number of characters, and four plus signs that are no Python were taken out. They were not run at 8779b75, nor on
the real data.

| rows | files in the folder | from |
|---|---|---|
| mk_niah and mv_niah but basic | `mmlu/test.jsonl`, `mmlu/auxiliary_train.jsonl` | cais/mmlu, all |
| qa | `hotpotqa/validation.jsonl`, `hotpotqa/train.jsonl` | hotpotqa/hotpot_qa, distractor |

`datasets.load_dataset("cais/mmlu", "all")["test"].to_json("mmlu/test.jsonl")` writes one of them, and
`{{rulerv2: {{folder: path/to/folder}}}}` runs all twelve. What differs from NeMo-Skills: new tokens, which it leaves to
whoever runs it, count into the length (32 to 1,024, by row); MMLU has 100 samples at most, since which questions are
asked depends there on how many are; HotpotQA's documents are drawn from the order of the file, there from the order of
a Python set, which changes from run to run. Scores are those of its `ruler.py` and `mcq.py`: a text that should be
copied counts by its share of right words, and letters of other scripts than Latin are not read.

## Costs

CPU seconds of making prompts of 131,072 tokens with SmolLM2's tokenizer, NVIDIA's script of head and ours in one run on
a shared machine of two cores, 2026-11-27: `python tests/ruler_costs.py head/`, whose first lines say what the columns
are. The last one is our share of NVIDIA's for a further sample, and in a run of a hundred, where ours tokenises eight
prompts whole to check its sums. A further sample of niah_multikey_3 takes a tenth, of every other row less. A run of a
hundred is above a tenth in niah_multikey_3, and in qa_1 and qa_2, where those eight prompts are most of it. Since then
uuids are counted by a simpler pattern (0.052 to 0.039 seconds a sample, both in one process); a second run gave
niah_multikey_3 5.2% and 7.0%, but niah_multikey_2, whose code is the same, 3.3% and 8.2%: the other load of the machine
moves these figures as much.

{costs}

## Samples

For {length:,} words and marks ({short} in `ruler-pocket`), shortened: `[…]` stands for what was left out, and what a
right answer says stands behind the arrow. Where data are missing here, the stand-in's sample is shown.
"""


class WordsLM:
    """Words and marks in the place of tokens."""

    added_tokens = 0

    def encode(self, text: str) -> list[str]:
        return re.findall(r" ?\w+|[^\w\s]|\s", text)


def page(length: int = 4096, short: int = 512) -> str:
    """The whole page as Markdown."""
    parts = [INTRODUCTION.format(differences=DIFFERENCES, costs=COSTS, length=length, short=short)]
    lm: Any = WordsLM()
    for row, made in exact.ROWS.items():
        own = f"ruler-head{exact.STANDIN if made.file not in ('', 'cwe') else ''}/{row}"
        parts += ["\n".join(_section(own, _exact(own, lm, length)))]
        parts += ["\n".join(_section(f"ruler-pocket/{row}", _pocket(row, lm, short)))]
    parts += ["\n".join(_section("ruler-paper/vt", _exact("ruler-paper/vt", lm, length)))]
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str, shown: Iterator[str]) -> Iterator[str]:
    yield from (f"### {name}", "")
    for text in shown:
        yield from ("```text", text, "```", "")


def _chosen(name: str) -> list[int]:
    return sorted(random.Random(f"examples {name}").sample(range(OF), SAMPLES))


def _exact(name: str, lm: Any, length: int) -> Iterator[str]:
    drafts = list(islice(exact.make(name).drafts(lm, length, 0), OF))
    for i in _chosen(name):
        yield shortened(drafts[i].build(), (*drafts[i].targets, *drafts[i].references), drafts[i].references)


def _pocket(row: str, lm: Any, length: int) -> Iterator[str]:
    for i in _chosen(row):
        budget = length - ruler.ROWS[row].new_tokens
        made = ruler.sample(row, 0, i, budget, lambda text: len(lm.encode(text)))
        asked = [word for word in re.findall(r"[\w-]{4,}", made.prompt[-ENDING:]) if made.prompt.count(word) < 4]
        yield shortened(made.prompt, (*asked, *made.references), made.references)


def shortened(prompt: str, hidden: tuple[str, ...], references: tuple[str, ...]) -> str:
    """The prompt's beginning and end, the first places of what it hides, and the answer."""
    places = [prompt.find(text) for text in dict.fromkeys(hidden)][:PLACES]
    spans = [(0, OPENING), (len(prompt) - ENDING, len(prompt))]
    spans += [(place - AROUND, place + AROUND) for place in places if place >= 0]
    shown, end = "", 0
    for start, stop in sorted(spans):
        start, stop = max(end, start), min(len(prompt), stop)
        if stop <= end:
            continue
        shown += (" […] " if start > end + 8 else prompt[end:start]) + prompt[start:stop]
        end = stop
    return f"{shown}\n→ {' | '.join(references)}"


if __name__ == "__main__":
    print(page(), end="")
