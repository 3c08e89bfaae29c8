"""What was equal between the methods of a run and what was not.

    {"conditions": [{"condition": str, "values": {label: value}, "equal": bool, "must_be_equal": bool,
                     "among": [[label]], "within": str}],
     "remarks": [{"tag": str, "text": str}], "environment": {name: value}}

What must be equal for a controlled comparison comes first; then what a method itself changes, shown so that nobody
overlooks it, and what it cost. A method without a finished cell has the value None, which equals nothing. `among` is
there where equality is judged within groups of methods (`harness.records.budgets` says which and why),
`within` names them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from harness.records.budgets import Among, remarks, search_rows, training_rows
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

    def row(condition: str, must_be_equal: bool, values: dict[str, Any], among: Among | None = None) -> None:
        groups = [labels] if among is None else among[1]
        equal = all(_equal([values[label] for label in group]) for group in groups)
        scope = {} if among is None else {"within": among[0], "among": groups}
        rows.append({"condition": condition, "values": values, "equal": equal, "must_be_equal": must_be_equal, **scope})

    def of_cells(condition: str, pick: Any) -> None:
        row(condition, True, {label: _shared([pick(content) for _, content in done[label]]) for label in labels})

    of_cells("base weights and tokenizer", lambda content: content["identity"]["weights"].split()[0])
    of_cells("dtype", lambda content: content["identity"]["dtype"])
    of_cells("attention kernel", lambda content: content["identity"]["attention"])
    of_cells("engine", lambda content: content["provenance"]["engine"])
    of_cells("library versions", lambda content: _versions(content["provenance"]["versions"]))
    of_cells("hardware", lambda content: ", ".join(content["provenance"]["gpus"]) or content["provenance"]["cpu"])
    # Of a test that draws nothing, a trained method has a cell for every training and an untrained one a single cell.
    row("cells finished", True, {label: _finished(len(done[label]), len(planned[label])) for label in labels})
    row("prompts", True, {label: _prompts(done[label]) for label in labels})
    row("samples per cell", True, {label: _numbers(c["samples"] for c, _ in done[label]) for label in labels})
    row("seeds", True, {label: _seeds([cell for cell, _ in done[label]]) for label in labels})
    row("max new tokens", True, {label: _new_tokens(done[label]) for label in labels})
    row("target length (tokens)", True, dict.fromkeys(labels, run["target_length"]))
    budgets = [*search_rows(run), *training_rows(run, records)]
    for condition, must_be_equal, values, among in budgets:
        if must_be_equal:
            row(condition, True, values, among)
    target = str(run["target_length"])
    factors = {method["label"]: method["plans"][target]["attention_factor"] for method in run["methods"]}
    row("attention factor at the target length", False, factors)
    kept = {method["label"]: method["plans"][target]["keep_first"] for method in run["methods"]}
    row("first positions kept as trained", False, kept)
    row("plan depends on the prompt's length", False, {m["label"]: m["varies"] for m in run["methods"]})
    row("evaluation seconds", False, {label: _total(done[label], "seconds", sum) for label in labels})
    row("evaluation token-forwards", False, {label: _total(done[label], "token_forwards", sum) for label in labels})
    row("peak memory (bytes)", False, {label: _total(done[label], "peak_memory_bytes", max) for label in labels})
    for condition, must_be_equal, values, among in budgets:
        if not must_be_equal:
            row(condition, False, values, among)
    return {
        "conditions": rows,
        "remarks": remarks(run, records),
        "environment": environment([content for _, content in contents if _done(content)]),
    }


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


def _equal(values: list[Any]) -> bool:
    return None not in values and len({canonical(value) for value in values}) < 2


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


def _finished(done: int, planned: int) -> str:
    return "all" if done == planned else f"{planned - done} missing"


def _seed(cell: Planned) -> int | None:
    """The seed that drew a cell's samples; None where every seed asks the same."""
    return int(cell["seed"]) if cell.get("seeded", True) else None


def _seeds(cells: Sequence[Planned]) -> str | None:
    drawn = [seed for cell in cells if (seed := _seed(cell)) is not None]
    return _numbers(drawn) or ("no test draws by seed" if cells else None)


def _prompts(cells: list[tuple[Planned, Any]]) -> str | None:
    """A hash over which samples were asked with which prompts; neither order nor repetition counts."""
    asked = sorted(
        {
            canonical([cell["task"], cell["length"], _seed(cell), row["sample"], row["prompt"]])
            for cell, content in cells
            for row in content["rows"]
        }
    )
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()[:16] if asked else None


def _new_tokens(cells: list[tuple[Planned, Any]]) -> str | None:
    budgets = {cell["task"]: content["identity"]["task"]["new_tokens"] for cell, content in cells}
    # Tests of lm-eval bring their own budgets, request by request.
    said = {
        task: "as its task file says" if task.startswith(("short/", "long/")) else budgets[task] for task in budgets
    }
    return ", ".join(f"{task} {said[task]}" for task in sorted(budgets)) or None


def _total(cells: list[tuple[Planned, Any]], name: str, combine: Any) -> Any:
    values = [content["cost"][name] for _, content in cells]
    return combine(values) if values else None
