"""RULER's document questions (NVIDIA/RULER scripts/data/synthetic/qa.py), over the invented world.

SQuAD and HotpotQA are not shipped: documents, questions and answers come from `tasks.corpora.world`, one hop in the
place of SQuAD, two hops in the place of HotpotQA.
"""

import random
from dataclasses import dataclass

from tasks import text
from tasks.corpora import world
from tasks.ruler.wording import wording


@dataclass(frozen=True)
class DocumentQuestion:
    hops: int = 1  # documents that hold the answer


def sample(
    task: DocumentQuestion, rng: random.Random, budget: int, count: text.TokenCount, held_out: bool = True
) -> text.Sample:
    said = wording()
    taken: set[str] = set()

    def name(r: random.Random) -> str:
        while True:
            drawn = text.draw(r, world.new_name, 1, held_out)[0]
            if drawn not in taken:
                taken.add(drawn)
                return drawn

    asked = world.dossier(rng, task.hops, name)
    others = [world.filler_document(rng, task.hops, name) for _ in range(max(1, budget // 12))]
    seed = rng.getrandbits(64)

    def build(size: int) -> str:
        documents = [*asked.gold, *others[:size]]
        random.Random(f"order {seed}").shuffle(documents)
        context = "\n\n".join(said.qa_document.format(i=i, document=d) for i, d in enumerate(documents, start=1))
        return said.qa_template.format(context=context, query=asked.question) + said.qa_prefix

    prompt = build(text.fit(build, len(others), count, budget))
    depth = prompt.index(asked.gold[-1]) / len(prompt)
    return text.Sample(prompt, (asked.answer,), count(prompt), round(depth, 4))
