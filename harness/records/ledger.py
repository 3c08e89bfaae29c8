"""What was equal between the methods of a run and what was not: the ledger in run.json.

What must be equal for a controlled comparison comes first; then what a method itself changes, shown so that nobody
overlooks it, and what it cost. A method without a finished cell has the value None, which equals nothing. Equality of
budgets is judged within groups of methods (`search_budgets` and `training_budgets` say which and why).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from harness.records.condition import Observation, required, shown
from harness.records.search_budgets import Searches, search_budgets, tuning_remark
from harness.records.training_budgets import Trainings, training_budgets, training_remark
from harness.store import CellRecord, Ledger, PlannedCell, Proof, Remark, Run, TrainingRecord, canonical

DoneCell = tuple[PlannedCell, CellRecord]


def ledger(
    run: Run,
    contents: Sequence[tuple[PlannedCell, CellRecord | None]],
    records: Mapping[str, TrainingRecord | None] = MappingProxyType({}),
) -> Ledger:
    """The ledger of a run from its run.json content, its cells (planned line, stored content or None) and the records
    of its trainings by key."""
    labels = [method["label"] for method in run["methods"]]
    done: dict[str, list[DoneCell]] = {label: [] for label in labels}
    planned = dict.fromkeys(labels, 0)
    for cell, content in contents:
        if (label := cell["label"]) in planned:
            planned[label] += 1
            if content is not None and content.get("status") == "done":
                done[label].append((cell, content))
    searches, trainings = Searches(run), Trainings(run, records)
    budgets = [*search_budgets(searches), *training_budgets(trainings)]
    observations = [
        *_conditions_of_cells(done),
        *_samples(done, planned),
        required("target length (tokens)", dict.fromkeys(labels, run["target_length"])),
        *(budget for budget in budgets if budget.must_be_equal),
        *_plans(run),
        *_mapped(done),
        *_parity(done),
        *_costs(done),
        *(budget for budget in budgets if not budget.must_be_equal),
    ]
    remarks = (training_remark(trainings), tuning_remark(searches), chat_remark(run))
    return {
        "conditions": [observation.judged(labels) for observation in observations],
        "remarks": [remark for remark in remarks if remark is not None],
        "environment": environment([content for cells in done.values() for _, content in cells]),
    }


def chat_remark(run: Run) -> Remark | None:
    """That prompts stand in a chat template, where they do."""
    if not run.get("chat"):
        return None
    text = (
        f"Every prompt that asks for an answer was the user's turn in the model's own chat template (sha256 "
        f"{run['chat']}); what the model thought between <think> and </think> is no part of its answer."
    )
    return {"tag": "chat template", "text": text}


def environment(done: Sequence[CellRecord]) -> dict[str, Any]:
    """Where the finished cells were computed; several values of one thing stand in one text."""
    places: list[Any] = [content["provenance"] for content in done]
    names = ("ropebench", "python", "torch", "transformers", "tokenizers", "lm_eval")
    values = {name: _shared([place["versions"].get(name) for place in places]) for name in names}
    values |= {
        name: _shared([place[name] for place in places]) for name in ("engine", "system", "cpu", "cores", "threads")
    }
    values["gpus"] = _shared([", ".join(place["gpus"]) or "none" for place in places])
    values |= {name: _shared([place[name] for place in places]) for name in ("commit", "dirty")}
    return {name: value for name, value in values.items() if value is not None}


def _conditions_of_cells(done: Mapping[str, list[DoneCell]]) -> list[Observation]:
    """What all cells of a method share, as the finished ones recorded it."""
    picks: dict[str, Callable[[Any], Any]] = {
        "base weights and tokenizer": lambda content: content["identity"]["weights"].split()[0],
        "dtype": lambda content: content["identity"]["dtype"],
        "attention kernel": lambda content: content["identity"]["attention"],
        "engine": lambda content: content["provenance"]["engine"],
        "library versions": lambda content: _versions(content["provenance"]["versions"]),
        "hardware": lambda content: ", ".join(content["provenance"]["gpus"]) or content["provenance"]["cpu"],
    }
    return [
        required(name, {label: _shared([pick(content) for _, content in cells]) for label, cells in done.items()})
        for name, pick in picks.items()
    ]


def _samples(done: Mapping[str, list[DoneCell]], planned: Mapping[str, int]) -> list[Observation]:
    """What the methods were asked."""
    return [
        # Of a test that draws nothing, a trained method has a cell for every training and an untrained one a single.
        required("cells finished", {label: _finished(len(cells), planned[label]) for label, cells in done.items()}),
        required("prompts", {label: _prompts(cells) for label, cells in done.items()}),
        required(
            "samples per cell",
            {label: _numbers(cell["samples"] for cell, _ in cells) for label, cells in done.items()},
        ),
        required("seeds", {label: _seeds([cell for cell, _ in cells]) for label, cells in done.items()}),
        required("max new tokens", {label: _new_tokens(cells) for label, cells in done.items()}),
    ]


def _plans(run: Run) -> list[Observation]:
    """What the methods themselves change."""
    target = str(run["target_length"])
    plans = {method["label"]: method["plans"][target] for method in run["methods"]}
    queries = {name: plan.get("query_factor", 1.0) for name, plan in plans.items()}
    return [
        shown(
            "attention factor at the target length", {name: plan["attention_factor"] for name, plan in plans.items()}
        ),
        *([shown("factor on the whole attention logit", queries)] if set(queries.values()) != {1.0} else []),
        shown("first positions kept as trained", {name: plan["keep_first"] for name, plan in plans.items()}),
        shown("plan depends on the prompt's length", {m["label"]: m["varies"] for m in run["methods"]}),
    ]


def _mapped(done: Mapping[str, list[DoneCell]]) -> list[Observation]:
    """In which layers positions were mapped, if any method did."""
    layers = {
        label: _shared([proof.get("mapped_layers") for _, proof in each]) or "none"
        for label, each in _proofs(done).items()
    }
    return [shown("layers with mapped positions", layers)] if set(layers.values()) - {"none"} else []


def _parity(done: Mapping[str, list[DoneCell]]) -> list[Observation]:
    """How the answers of servers compare with those of transformers, if any server was asked."""
    proofs = _proofs(done)
    if all("max_difference" in proof for each in proofs.values() for _, proof in each):
        return []
    return [shown("answers that transformers gives too", {label: _alike(each) for label, each in proofs.items()})]


def _alike(proofs: Sequence[tuple[str, Proof]]) -> str:
    """In words. Cells of one length share their check."""
    checked = {(length, canonical(proof["parity"])): proof["parity"] for length, proof in proofs if "parity" in proof}
    if not checked:
        return "in this process" if all("max_difference" in proof for _, proof in proofs) else "not checked"
    apart = [at for parity in checked.values() for at in parity["parts_at"]]
    prompts = sum(parity["prompts"] for parity in checked.values())
    words = f"{prompts - len(apart)} of {prompts}"
    return words + (f", parted first at token {min(apart)}" if apart else "")


def _proofs(done: Mapping[str, list[DoneCell]]) -> dict[str, list[tuple[str, Proof]]]:
    """The proofs of a method's cells, each with its length."""
    return {
        label: [pair for _, cell in cells for pair in cell.get("proof", {}).items()] for label, cells in done.items()
    }


def _costs(done: Mapping[str, list[DoneCell]]) -> list[Observation]:
    """What evaluating the methods cost."""
    costs: dict[str, list[Any]] = {label: [content["cost"] for _, content in cells] for label, cells in done.items()}

    def combined(name: str, combine: Callable[[list[Any]], Any]) -> dict[str, Any]:
        return {label: combine([cost[name] for cost in each]) if each else None for label, each in costs.items()}

    return [
        shown("evaluation seconds", combined("seconds", sum)),
        shown("evaluation token-forwards", combined("token_forwards", sum)),
        shown("peak memory (bytes)", combined("peak_memory_bytes", max)),
    ]


def _shared(values: list[Any]) -> Any:
    """The one value of all cells, or all of them in one text."""
    different = {canonical(value): value for value in values if value is not None}
    if len(different) < 2:
        return next(iter(different.values()), None)
    return " and ".join(sorted(str(value) for value in different.values()))


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "tokenizers") if name in versions)


def _numbers(numbers: Iterable[int]) -> str | None:
    return ", ".join(map(str, sorted(set(numbers)))) or None


def _finished(done: int, planned: int) -> str:
    return "all" if done == planned else f"{planned - done} missing"


def _seed(cell: PlannedCell) -> int | None:
    """The seed that drew a cell's samples; None where every seed asks the same."""
    return int(cell["seed"]) if cell.get("seeded", True) else None


def _seeds(cells: Sequence[PlannedCell]) -> str | None:
    drawn = [seed for cell in cells if (seed := _seed(cell)) is not None]
    return _numbers(drawn) or ("no test draws by seed" if cells else None)


def _prompts(cells: Sequence[DoneCell]) -> str | None:
    """A hash over which samples were asked with which prompts; neither order nor repetition counts."""
    asked = sorted(
        {
            canonical([cell["task"], cell["length"], _seed(cell), row["sample"], row["prompt"]])
            for cell, content in cells
            for row in content["rows"]
        }
    )
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()[:16] if asked else None


def _new_tokens(cells: Sequence[DoneCell]) -> str | None:
    budgets = {cell["task"]: content["identity"]["task"]["new_tokens"] for cell, content in cells}
    # Tests of lm-eval bring their own budgets, request by request.
    words = {
        task: "as its task file says" if task.startswith(("short/", "long/")) else budgets[task] for task in budgets
    }
    return ", ".join(f"{task} {words[task]}" for task in sorted(budgets)) or None
