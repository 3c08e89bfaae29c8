"""What was equal between the methods of a run and what was not.

    {"conditions": [{"condition": str, "values": {label: value}, "equal": bool, "must_be_equal": bool}],
     "environment": {name: value}}

What must be equal for a controlled comparison comes first; then what a method itself changes, shown so that nobody
overlooks it, and what it cost. A method without a finished cell has the value None, which equals nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from harness.store import canonical

Planned = Mapping[str, Any]
Content = Mapping[str, Any] | None


def ledger(
    run: Mapping[str, Any],
    contents: Sequence[tuple[Planned, Content]],
    records: Mapping[str, Content] = MappingProxyType({}),
) -> dict[str, Any]:
    """The ledger of a run from its run.json content, its cells (planned line, stored content or None) and the records
    of its trainings by key."""
    labels = [method["label"] for method in run["methods"]]
    planned = {label: [cell for cell, _ in contents if cell["label"] == label] for label in labels}
    done = {
        label: [(cell, content) for cell, content in contents if cell["label"] == label and _done(content)]
        for label in labels
    }
    rows = []

    def row(condition: str, must_be_equal: bool, values: dict[str, Any]) -> None:
        texts = {canonical(value) for value in values.values()}
        equal = len(texts) == 1 and None not in values.values()
        rows.append({"condition": condition, "values": values, "equal": equal, "must_be_equal": must_be_equal})

    def of_cells(condition: str, pick: Any) -> None:
        row(condition, True, {label: _shared([pick(content) for _, content in done[label]]) for label in labels})

    of_cells("base weights and tokenizer", lambda content: content["identity"]["weights"].split()[0])
    of_cells("dtype", lambda content: content["identity"]["dtype"])
    of_cells("attention kernel", lambda content: content["identity"]["attention"])
    of_cells("engine", lambda content: content["provenance"]["engine"])
    of_cells("library versions", lambda content: _versions(content["provenance"]["versions"]))
    of_cells("hardware", lambda content: ", ".join(content["provenance"]["gpus"]) or content["provenance"]["cpu"])
    row("cells finished", True, {label: f"{len(done[label])} of {len(planned[label])}" for label in labels})
    row("prompts", True, {label: _prompts(done[label]) for label in labels})
    row("samples per cell", True, {label: _numbers(c["samples"] for c, _ in done[label]) for label in labels})
    row("seeds", True, {label: _numbers(c["seed"] for c, _ in done[label]) for label in labels})
    row("max new tokens", True, {label: _new_tokens(done[label]) for label in labels})
    row("target length (tokens)", True, dict.fromkeys(labels, run["target_length"]))
    searched = {one["label"]: one["cost"] or {} for one in run.get("searches", [])}
    for condition, name in (("search trials", "candidates"), ("search token-forwards", "token_forwards")):
        row(condition, True, {label: searched.get(label, {}).get(name, 0) for label in labels})
    for condition, must_be_equal, values in training_rows(run, records):
        row(condition, must_be_equal, values)
    target = str(run["target_length"])
    factors = {method["label"]: method["plans"][target]["attention_factor"] for method in run["methods"]}
    row("attention factor at the target length", False, factors)
    kept = {method["label"]: method["plans"][target]["keep_first"] for method in run["methods"]}
    row("first positions kept as trained", False, kept)
    row("plan depends on the prompt's length", False, {m["label"]: m["varies"] for m in run["methods"]})
    row("evaluation seconds", False, {label: _total(done[label], "seconds", sum) for label in labels})
    row("evaluation token-forwards", False, {label: _total(done[label], "token_forwards", sum) for label in labels})
    row("peak memory (bytes)", False, {label: _total(done[label], "peak_memory_bytes", max) for label in labels})
    return {"conditions": rows, "environment": environment([content for _, content in contents if _done(content)])}


def training_rows(run: Mapping[str, Any], records: Mapping[str, Content]) -> list[tuple[str, bool, dict[str, Any]]]:
    """(condition, must be equal, value by method) of training. One method's seeds stand together: their data differ."""
    rows: list[tuple[str, bool, dict[str, Any]]] = []
    labels = [method["label"] for method in run["methods"]]
    own = {
        label: [records.get(one["key"]) for one in run.get("trainings", []) if one["method"] == label]
        for label in labels
    }
    done = {label: [r for r in found if r is not None and r["status"] == "done"] for label, found in own.items()}

    def of(pick: Any, combine: Any, nothing: Any) -> dict[str, Any]:
        """What a method without training has, None where one is missing, else the records' values combined."""
        return {
            label: nothing if not own[label] else combine([pick(r) for r in done[label]]) if done[label] else None
            for label in labels
        }

    rows.append(("training tokens", True, of(lambda r: r["cost"]["tokens"], max, 0)))
    if any(own.values()):
        rows += [
            ("training recipe", True, of(lambda r: r["recipe"]["label"], _joined, "none")),
            ("training data order", True, of(lambda r: r["data"]["order"], _joined, "none")),
            ("training corpus", True, of(lambda r: r["data"]["corpus"], _joined, "none")),
            ("training steps", True, of(lambda r: len(r["curve"]), max, 0)),
            ("training learning rate", True, of(lambda r: r["recipe"]["learning_rate"], max, 0)),
            ("training optimiser", True, of(_optimiser, _joined, "none")),
            ("trained parameters", True, of(_trainable, _joined, "none")),
            ("training FLOPs", False, of(lambda r: r["cost"]["flops"], sum, 0)),
            ("training seconds", False, of(lambda r: r["cost"]["seconds"], sum, 0)),
            ("training peak memory (bytes)", False, of(lambda r: r["cost"]["peak_memory_bytes"], max, 0)),
        ]
    return rows


def _joined(values: Sequence[Any]) -> str:
    return " and ".join(dict.fromkeys(map(str, values)))


def _optimiser(record: Mapping[str, Any]) -> str:
    recipe = record["recipe"]
    betas = "/".join(f"{beta:g}" for beta in recipe["betas"])
    return f"AdamW {betas}, decay {recipe['weight_decay']:g}, {recipe['schedule']}, clip {recipe['clip']:g}"


def _trainable(record: Mapping[str, Any]) -> str:
    trainable = record["trainable"]
    return f"{trainable['parameters']} of {trainable['of']}"


def environment(done: Sequence[Any]) -> dict[str, Any]:
    """Where the finished cells were computed; several values of one thing stand in one text."""
    places = [content["provenance"] for content in done]
    names = ("ropebench", "python", "torch", "transformers", "tokenizers", "lm_eval")
    found = {name: _shared([place["versions"].get(name) for place in places]) for name in names}
    found |= {
        name: _shared([place[name] for place in places]) for name in ("engine", "system", "cpu", "cores", "threads")
    }
    found["gpus"] = _shared([", ".join(place["gpus"]) or "none" for place in places])
    found |= {name: _shared([place[name] for place in places]) for name in ("commit", "dirty")}
    return {name: value for name, value in found.items() if value is not None}


def _done(content: Content) -> bool:
    return content is not None and content.get("status") == "done"


def _shared(values: list[Any]) -> Any:
    """The one value of all cells, or all of them in one text."""
    different = {canonical(value): value for value in values if value is not None}
    if len(different) < 2:
        return next(iter(different.values()), None)
    return " and ".join(sorted(str(value) for value in different.values()))


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "tokenizers") if name in versions)


def _numbers(numbers: Any) -> str | None:
    return ", ".join(map(str, sorted(set(numbers)))) or None


def _prompts(cells: list[tuple[Planned, Any]]) -> str | None:
    """A hash over which samples were asked with which prompts; order does not count."""
    asked = sorted(
        canonical([cell["task"], cell["length"], cell["seed"], row["sample"], row["prompt"]])
        for cell, content in cells
        for row in content["rows"]
    )
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()[:16] if asked else None


def _new_tokens(cells: list[tuple[Planned, Any]]) -> str | None:
    budgets = {cell["task"]: content["identity"]["task"]["new_tokens"] for cell, content in cells}
    return ", ".join(f"{task} {budgets[task]}" for task in sorted(budgets)) or None


def _total(cells: list[tuple[Planned, Any]], name: str, combine: Any) -> Any:
    values = [content["cost"][name] for _, content in cells]
    return combine(values) if values else None
