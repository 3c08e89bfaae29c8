"""Result stores with made-up numbers, for tests of the reports: the shape of real ones, without any model."""

import hashlib
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.seals import sealed
from harness.store import Store, canonical, key_of, write_record, write_whole

TRAINED = 512
PAIRS = 32
THETA = 2_000.0
METHODS = ("none", "pi", "ntk", "yarn", "longrope", "longrope2")
STRENGTH = {"none": 0.0, "pi": 0.35, "ntk": 0.55, "yarn": 0.62, "longrope": 0.72, "longrope2": 0.86}
LENGTHS = (256, 512, 1024, 2048, 4096)
RULER = {
    **{f"ruler-pocket/niah_{name}": "retrieval" for name in (
        "single_1", "single_2", "single_3", "multikey_1", "multikey_2", "multikey_3", "multivalue", "multiquery")},
    "ruler-pocket/vt": "tracking",
    "ruler-pocket/cwe": "counting",
    "ruler-pocket/fwe": "counting",
    "ruler-pocket/qa_1": "qa",
    "ruler-pocket/qa_2": "qa",
}  # fmt: skip
LONG = {"needle": "retrieval", "passkey": "retrieval", **RULER}
SHORT = ("short/recall", "short/order", "short/arithmetic")
WORDS = "the harbour keeps a slow light over grey water and every boat knows its own way home at night".split()


def inv_freq() -> list[float]:
    return [THETA ** (-i / PAIRS) for i in range(PAIRS)]


def plan(label: str, length: int) -> dict[str, Any]:
    """Something like each method's rescale factors."""
    s = LENGTHS[-1] / TRAINED
    share = [i / (PAIRS - 1) for i in range(PAIRS)]
    factors = {
        "none": [1.0] * PAIRS,
        "pi": [s] * PAIRS,
        "ntk": [s**x for x in share],
        "yarn": [1 + (s - 1) * min(max((x - 0.25) / 0.4, 0), 1) for x in share],
        "longrope": [1 + (s - 1) * x**1.5 for x in share],
        "longrope2": [min(1.12 * s, 1 + 1.12 * (s - 1) * (x / 0.7) ** 3) for x in share],
    }.get(label, [1 + (s - 1) * x for x in share])
    values = [f / factor for f, factor in zip(inv_freq(), factors, strict=True)]
    name = hashlib.sha256(repr(values).encode()).hexdigest()[:16]
    return {"inv_freq": values, "attention_factor": 1.0 if label != "yarn" else 1.21, "keep_first": 0, "hash": name}


def planned(
    labels: Iterable[str],
    lengths: Iterable[int],
    tasks: Mapping[str, str],
    samples: int,
    seeds: Iterable[int] = (0,),
    unit: str = "score",
) -> list[dict[str, Any]]:
    cells = []
    for task, category in tasks.items():
        for length in lengths:
            for label in labels:
                for seed in seeds:
                    cell = {
                        "label": label,
                        "task": task,
                        "category": category,
                        "unit": unit,
                        "length": length,
                        "seed": seed,
                        "samples": samples,
                    }
                    cells.append({**cell, "key": key_of(cell)})
    return cells


def run_content(
    cells: Sequence[Mapping[str, Any]], labels: Sequence[str] = METHODS, name: str = "pocket-llama"
) -> dict[str, Any]:
    critical = math.ceil(PAIRS * math.log(TRAINED / (2 * math.pi)) / math.log(THETA))
    return {
        "name": "quick",
        "model": {
            "name": name,
            "weights_hash": "9f2c4b6a1d3e5f70",
            "parameters": 11_534_336,
            "rope": {
                "rotary_dims": 2 * PAIRS,
                "rope_theta": THETA,
                "trained_length": TRAINED,
                "inv_freq": inv_freq(),
                "attention_factor": 1.0,
                "critical_pair": critical,
            },
        },
        "target_length": LENGTHS[-1],
        "methods": [
            {
                "label": label,
                "extender": label,
                "parameters": {"beta_fast": 32.0, "beta_slow": 1.0} if label == "yarn" else {},
                "summary": f"the {label} method of a made-up store",
                "plans": {str(length): plan(label, length) for length in LENGTHS},
            }
            for label in labels
        ],
        "cells": [dict(cell) for cell in cells],
        "ledger": {
            "conditions": [
                condition("base weights", dict.fromkeys(labels, "9f2c4b6a1d3e5f70"), True),
                condition("tokenizer", dict.fromkeys(labels, "2b8e1c"), True),
                condition("engine", dict.fromkeys(labels, "transformers 5.22.2"), True),
                condition("dtype", dict.fromkeys(labels, "float32"), True),
                condition("samples", dict.fromkeys(labels, "equal"), True),
                condition("search trials", {label: 512 if "longrope" in label else 0 for label in labels}, False),
            ],
            "environment": {
                "python": "3.11.2",
                "torch": "2.13.0+cpu",
                "cpu": "made-up CPU",
                "threads": 2,
                "commit": "abc1234",
                "dirty": False,
            },
        },
        "created": "2026-01-02T03:04:05+00:00",
    }


def condition(name: str, values: Mapping[str, Any], must: bool) -> dict[str, Any]:
    return {
        "condition": name,
        "values": dict(values),
        "equal": len({repr(v) for v in values.values()}) == 1,
        "must_be_equal": must,
    }


def content(rows: list[dict[str, Any]], cost: Mapping[str, float] | None = None) -> dict[str, Any]:
    """A finished cell."""
    return {
        "identity": {},
        "status": "done",
        "error": "",
        "rows": rows,
        "cost": {
            "seconds": 1.5 * len(rows),
            "token_forwards": 1000 * len(rows),
            "peak_memory_bytes": 4 * 10**8,
            **(cost or {}),
        },
        "proof": {"verified": True},
        "provenance": {},
    }


def failed(error: str = "ValueError: the logits hold NaN") -> dict[str, Any]:
    return {
        "identity": {},
        "status": "failed",
        "error": error,
        "traceback": f"Traceback (most recent call last):\n  …\n{error}",
        "rows": [],
    }


def row(sample: int, score: float, **more: Any) -> dict[str, Any]:
    empty = {"prompt": "", "generation": "", "references": [], "failure": "", "plan_hash": "", "extra": {}}
    numbers = {"prompt_tokens": 10, "new_tokens": 4, "depth": None, "finished": True, "seconds": 0.5}
    return {"sample": sample, "score": score, **empty, **numbers, **more}


def write(folder: Path, cells: Sequence[Mapping[str, Any]], scores: Mapping[str, Sequence[float]], **run: Any) -> Store:
    """A store from given scores by cell key; cells without scores stay missing."""
    store = Store.create(folder)
    store.write_run(run_content(cells, **run))
    for key, values in scores.items():
        store.put_cell(key, content([row(i, value) for i, value in enumerate(values)]))
    return store


def realistic(
    folder: Path, samples: int = 20, labels: Sequence[str] = METHODS, lengths: Sequence[int] = LENGTHS
) -> Store:
    """Six methods on needles, passkeys, 13 RULER tasks, perplexity and short tests; a cell failed, another missing."""
    store = Store.create(folder)
    cells = planned(labels, lengths, LONG, samples)
    cells += planned(labels, lengths, {"perplexity": "perplexity"}, 8, unit="nats")
    cells += planned(labels, [TRAINED], dict.fromkeys(SHORT, "short"), 2 * samples)
    cells += planned(labels, [TRAINED], {"short/held-out-loss": "short"}, 8, unit="nats")
    store.write_run(run_content(cells, labels))
    for cell in cells:
        if (cell["label"], cell["task"], cell["length"]) == ("pi", "ruler-pocket/cwe", lengths[-1]):
            store.put_cell(cell["key"], failed("MemoryError: 3.1 GiB asked for, 2.0 GiB free"))
        elif (cell["label"], cell["task"]) != ("longrope", "ruler-pocket/qa_2") or cell["length"] != lengths[-1]:
            make = _loss_row if cell["unit"] == "nats" else _answer_row
            rows = [make(store, cell, i) for i in range(cell["samples"])]
            cost = {"seconds": 0.002 * cell["length"] * len(rows), "token_forwards": cell["length"] * len(rows)}
            store.put_cell(cell["key"], content(rows, cost))
    return store


def _beyond(cell: Mapping[str, Any]) -> float:
    """How much a method lacks at a length: 0 inside the window."""
    doublings = max(0.0, math.log2(cell["length"] / TRAINED))
    return doublings * (1 - STRENGTH.get(cell["label"], 0.5))


def _answer_row(store: Store, cell: Mapping[str, Any], i: int) -> dict[str, Any]:
    task, length = cell["task"], cell["length"]
    text = random.Random(f"text {task} {length} {cell['seed']} {i}")  # the same for every method
    luck = random.Random(f"luck {task} {length} {cell['seed']} {i}").random()
    own = random.Random(f"own {cell}").random
    code = str(text.randrange(10**6, 10**7))
    depth = round((i % 11) / 10, 1) if cell["category"] == "retrieval" else None
    words = [text.choice(WORDS) for _ in range(length // 2)]
    words.insert(int((depth if depth is not None else 0.5) * len(words)), f"The secret code of Amber Bay is {code}.")
    prompt = store.put_prompt(" ".join(words) + "\nWhat is the secret code of Amber Bay?")
    hardness = 0.2 * (len(task) % 4) + (0.4 if cell["category"] in ("qa", "counting") else 0)
    chance = (
        0.97 / (1 + math.exp(2.2 * (_beyond(cell) + hardness) - 3.4))
        if cell["category"] != "short"
        else 0.8 - 0.05 * _weak(cell)
    )
    right = 0.75 * luck + 0.25 * own() < chance
    score = (1.0 if right else 0.0) if cell["category"] != "counting" else round(5 * chance + own() - 0.5) / 5
    score = min(max(score, 0.0), 1.0)
    said = (
        code
        if score >= 1
        else text.choice(["", "I do not know", str(text.randrange(10**6)), "the the the the the the"])
    )
    failure = (
        ""
        if score >= 1
        else {"": "empty", "I do not know": "refusal"}.get(said, "repetition" if said.startswith("the") else "other")
    )
    asked = {"prompt": prompt, "references": [code], "prompt_tokens": length - 16, "depth": depth}
    answered = {"generation": f" {said}.", "new_tokens": 6, "failure": failure, "finished": score >= 1}
    return row(i, score, **asked, **answered, plan_hash=plan(cell["label"], length)["hash"])


def _weak(cell: Mapping[str, Any]) -> float:
    return 0.0 if cell["label"] == "none" else 1.5 * (1 - STRENGTH.get(cell["label"], 0.5))


def _loss_row(store: Store, cell: Mapping[str, Any], i: int) -> dict[str, Any]:
    rng = random.Random(f"loss {cell['task']} {cell['length']} {i}")
    length, base = cell["length"], 2.9 + rng.gauss(0, 0.12)
    edges = [0, *[2**k for k in range(4, int(math.log2(length)) + 1)]]
    loss = []
    for start, end in zip(edges, edges[1:], strict=False):
        late = max(0.0, math.log2(end / TRAINED)) * (1 - STRENGTH.get(cell["label"], 0.5)) * 1.1
        loss.append(base + 2.2 / math.log2(4 + start) + late + 0.02 * _weak(cell))
    mean = sum(v * (e - s) for v, s, e in zip(loss, edges, edges[1:], strict=False)) / length
    return row(
        i,
        mean,
        extra={"curve": {"edges": edges, "loss": loss}, "tokens": length, "bytes": 4 * length},
        prompt_tokens=length,
    )


def with_stages(store: Store) -> Store:
    """Adds a search of longrope2 and two seeds of training, as the harness writes them."""
    run = store.run()
    rng = random.Random("search")
    lines, loss = [], 3.0
    for i in range(60):
        loss = min(loss, 3.0 - 0.02 * i + rng.gauss(0, 0.05))
        lines.append({"candidate": i, "parent": i - 1 if i else None, "operator": "mutate", "stage": "search",
                      "loss": None if i == 7 else loss + abs(rng.gauss(0, 0.2)), "samples": 2 + i % 3,
                      "spent": 1000 * (i + 1), "factors": [], "parameters": {}, "plan": ""})  # fmt: skip
    identity = {"extender": "longrope2", "target_length": LENGTHS[-1], "parameters": {}}
    key = key_of(identity)
    text = "\n".join(canonical(line) for line in lines)
    write_whole(store.folder / "searches" / f"{key}.jsonl", text + '\n{"candidate": 60, "lo')  # half written
    found = {"critical_pair": 17.5, "factors": [1.0] * PAIRS}
    content_ = {"key": key, "label": "longrope2", "identity": identity, "status": "done", "error": "", "found": found,
                "loss": 1.84,
                "held_out": {"longrope2": 1.9, "yarn": 2.3}, "held_out_samples": 8,
                "cost": {"seconds": 61.5, "token_forwards": 60_000, "candidates": 60, "evaluations": 150}}  # fmt: skip
    write_record(store.folder / "searches" / f"{key}.json", "search", content_)
    run["searches"] = [{"label": "longrope2", "extender": "longrope2", "key": key, "status": "done", "error": ""}]
    run["trainings"] = []
    for seed in (0, 1):
        key = f"{seed}7ra1"
        curve = [{"step": i + 1, "tokens": 4096 * (i + 1), "learning_rate": 1e-3, "gradient_norm": 1.0,
                  "loss": {"short": 2.0 / (i + 1) + 1, **({"long": 3.0 / (i + 1) + 1.2} if i % 2 else {})}}
                 for i in range(20)]  # fmt: skip
        trained = {"key": key, "identity": {}, "status": "done", "error": "", "curve": curve, "recipe": {}, "plans": {},
                   "trainable": {"parameters": 1000, "of": 2000}, "data": {"corpus": "made up", "order": "0bde5" * 3},
                   "weights": {"sha256": "0" * 64},
                   "cost": {"seconds": 10.0, "tokens": 81_920, "flops": 1e9, "peak_memory_bytes": 2**28}}  # fmt: skip
        store.put_training(key, trained)
        run["trainings"].append({"method": "longrope2", "base_method": "longrope2", "recipe": "mixed", "seed": seed,
                                 "key": key, "status": "done", "error": ""})  # fmt: skip
    del run["format"]
    store.write_run(run)
    return store


def large(
    folder: Path, methods: int = 7, lengths: Sequence[int] = (4096, 8192, 16384, 32768, 65536, 131072), n: int = 500
) -> Store:
    """The 13 RULER tasks at full size, written without the care that a real run takes for every file.

    Prompts are some 6,000 characters of words drawn by Zipf's law, as hard to compress as text.
    """
    labels = (*METHODS, "my_idea")[:methods]
    store = Store.create(folder)
    cells = planned(labels, lengths, RULER, n)
    store.write_run(run_content(cells, labels) | {"target_length": lengths[-1]})
    (folder / "prompts").mkdir(exist_ok=True)
    rng = random.Random("vocabulary")
    vocabulary = [
        "".join(rng.choice("etaoinshrdlucmfwypvbgkjqxz") for _ in range(rng.randint(2, 9))) for _ in range(4000)
    ]
    weights = [1 / (i + 2) for i in range(len(vocabulary))]
    names: dict[tuple[str, int, int], tuple[str, str]] = {}
    for cell in cells:
        rows = []
        for i in range(n):
            asked = (cell["task"], cell["length"], i)
            if asked not in names:
                draw = random.Random(f"text {asked}")
                code = str(draw.randrange(10**6, 10**7))
                words = draw.choices(vocabulary, weights, k=1000)
                words.insert(draw.randrange(1000), f"The secret code of {draw.choice(vocabulary)} is {code}.")
                text = "A special code is hidden in the text. " + " ".join(words) + " What is the secret code? Answer:"
                name = store.prompt_name(text)
                (folder / "prompts" / f"{name}.txt").write_text(text, encoding="utf-8")
                names[asked] = (name, code)
            name, code = names[asked]
            own = random.Random(f"own {cell['label']} {asked}")
            right = own.random() < 0.98 - 0.12 * math.log2(cell["length"] / 4096) * (
                1.2 - STRENGTH.get(cell["label"], 0.5)
            )
            said = code if right else " ".join(own.choices(vocabulary, weights, k=own.randint(0, 20)))
            asked_of = {"prompt": name, "references": [code], "prompt_tokens": cell["length"] - 40}
            wrong = "" if right else own.choice(["other needle", "wrong value"])
            more = {"generation": f" {said}.", "depth": own.randrange(11) / 10, "failure": wrong}
            rows.append(row(i, float(right), **asked_of, **more))
        text = canonical(sealed("cell", {"key": cell["key"], **content(rows)}))
        store.cell_path(cell["key"]).write_text(text, encoding="utf-8")
    return store
