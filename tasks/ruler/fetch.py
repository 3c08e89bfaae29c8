"""Write RULER's essays, SQuAD and HotpotQA into a folder, in the shapes of RULER's own files. Needs a network.

    python -m tasks.ruler.fetch FOLDER

SQuAD and HotpotQA come from the hub in the content and order of the files that RULER downloads. The essays are the
hub's collection (baber/paul_graham_essays, which lm-eval takes too), not those that RULER's script gathers from web
pages, so essay prompts are RULER's to the byte only with its own file. `english_words.json` lies in RULER's checkout.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tasks.ruler.exact.data import FILES


def squad_file(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """SQuAD's JSON from the hub's rows: paragraphs under articles, in order."""
    articles: list[dict[str, Any]] = []
    for row in rows:
        if not articles or articles[-1]["title"] != row["title"]:
            articles.append({"title": row["title"], "paragraphs": []})
        paragraphs = articles[-1]["paragraphs"]
        if not paragraphs or paragraphs[-1]["context"] != row["context"]:
            paragraphs.append({"context": row["context"], "qas": []})
        answers = [{"text": answer} for answer in row["answers"]["text"]]
        paragraphs[-1]["qas"].append(
            {"id": row["id"], "question": row["question"], "is_impossible": not answers, "answers": answers}
        )
    return {"data": articles}


def hotpot_file(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """HotpotQA's JSON from the hub's rows, which keep titles and sentences in separate lists."""

    def pairs(lists: Mapping[str, list[Any]], second: str) -> list[list[Any]]:
        return [list(pair) for pair in zip(lists["title"], lists[second], strict=True)]

    return [
        {
            "_id": row["id"],
            "question": row["question"],
            "answer": row["answer"],
            "supporting_facts": pairs(row["supporting_facts"], "sent_id"),
            "context": pairs(row["context"], "sentences"),
        }
        for row in rows
    ]


def fetch(folder: Path) -> list[Path]:
    """Write the three files that the hub has; returns their paths. Raises ValueError when the hub is out of reach."""
    from datasets import load_dataset

    def rows(*name: str, split: str) -> Any:
        try:
            return load_dataset(*name, split=split)
        except Exception as error:  # the hub's errors have no common class
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"cannot read {name[0]} from the hub ({reason}); check the network, or name files"
            ) from error

    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "essay": {"text": " ".join(rows("baber/paul_graham_essays", split="train")["text"])},
        "qa_1": squad_file(rows("rajpurkar/squad_v2", split="validation")),
        "qa_2": hotpot_file(rows("hotpotqa/hotpot_qa", "distractor", split="validation")),
    }
    written = []
    for kind, content in contents.items():
        written.append(folder / FILES[kind])
        written[-1].write_text(json.dumps(content), encoding="utf-8")
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    try:
        for path in fetch(parser.parse_args().folder):
            print(path)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
