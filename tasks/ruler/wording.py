"""RULER's wording, read at run time from the installed lm_eval; nothing of it is restated here.

The files are parsed, not imported: importing lm_eval's RULER code reaches for the network and builds millions
of strings. The corrections that bring the wording to NVIDIA's main (commit c3f5e3b) are named below, and
SHA-256 guards stop us when a changed dependency would change the benchmark in silence.

Where $ROPEBENCH_RULER names a checkout of RULER, its own files are read instead, under the same guards.
"""

import ast
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

GUARDS = {  # sha256 of the UTF-8 text, placeholders unfilled, corrections applied
    "niah_template": "b373c00e238df12bea974d3fdc4ffebcc0f04600885640250040e3c27169216f",
    "niah_prefix": "994f3a46e763414f630c39b097b66c4df6160ef1c5991817cfabee7bfee4ec19",
    "needle": "8b1728a938426e426c307f6c79fc57662c827cb42865cd1630410cd7009cf524",
    "noise": "c2fcf70de6081e6fb364c3e5e9a7c0a335a05837a0832ae7a33a1cfe7414bd09",
    "vt_template": "fcfaf2eab2bc3e35a119b13fe42e5902800291c4d6101c60be93ecf8b031fefa",
    "vt_prefix": "4a4e9010ec4141a3706929569612af94bd4098ee660862395a73b0100e52c5a6",
    "cwe_template": "45fff5d17627b65ac12c8bf0e60380cbb05966878794a18ec394c2df9bea19b1",
    "cwe_prefix": "8ee526599bbc73726f19bb07da106d143a194667cf52e08434c44ce652e08028",
    "fwe_template": "a0c7b873cf500d6ce65950a91baecd810ce34d151939da916a43fa5014178f9c",
    "fwe_prefix": "9a72271c5762c96d9adbf480f21e621c5855e48cc029605c1c422135c4db7a92",
    "qa_template": "18a659c9723f24f172004ab1692ae88efaf0c07417b6d7326f813c7169011d28",
    "qa_prefix": "255204f061d7e266f2aa1e50df08977c15a9c31b4cd8f3fbef0f96da93d564aa",
    "qa_document": "ce8bd2851618becfb57dffd626111f577bb4ba0d18e5704dcedcddd227c66098",
}
# e40fae1 misspells one word of one prefix, and lm_eval keeps it so
PAPER_GUARDS = {"vt_prefix": "4652e8514a4f6d88dc2a24ca3198e8b568d7e9ec1c2dafb5bedb60936e947e54"}
CHECKOUT = "ROPEBENCH_RULER"  # environment variable
SYNTHETIC = Path("scripts/data/synthetic")  # where a checkout keeps its generators


@dataclass(frozen=True)
class Wording:
    """Templates with unfilled placeholders, and the pairs that turn the needle question into the singular."""

    niah_template: str
    niah_prefix: str
    needle: str
    noise: str
    vt_template: str
    vt_prefix: str
    cwe_template: str
    cwe_prefix: str
    fwe_template: str
    fwe_prefix: str
    qa_template: str
    qa_prefix: str
    qa_document: str
    singular: tuple[tuple[str, str], ...]


@cache
def wording(version_of: str = "head") -> Wording:
    """The wording with the corrections of NVIDIA's main ("head") or of e40fae1 ("paper").

    Raises ValueError when the files that it is read from have changed.
    """
    checkout = os.environ.get(CHECKOUT)
    texts, niah, source = _from_checkout(Path(checkout)) if checkout else _from_lm_eval()
    right, wrong = "assigned", "assgined"  # vt_spelling
    texts["vt_prefix"] = texts["vt_prefix"].replace(*((wrong, right) if version_of == "head" else (right, wrong)))
    guards = GUARDS | (PAPER_GUARDS if version_of == "paper" else {})
    for name, text in texts.items():
        if hashlib.sha256(text.encode()).hexdigest() != guards[name]:
            raise ValueError(
                f"RULER's wording '{name}' in {source} is not the known one; scores would not be comparable: "
                + ("check out c3f5e3b or e40fae1" if checkout else "install the lm_eval version of constraints.txt")
            )
    return Wording(**texts, singular=_singular_pairs(niah))


def _from_lm_eval() -> tuple[dict[str, str], ast.Module, str]:
    folder = _folder()
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")}
    niah, vt = trees["prepare_niah"], _constant(trees["vt_utils"], "CONFIG")["variable_tracking"]
    cwe, fwe, qa = (_constant(trees[f"{name}_utils"], "CONFIG") for name in ("cwe", "fwe", "qa"))
    texts = {
        "niah_template": _constant(trees["niah_utils"], "TEMPLATE"),
        "niah_prefix": " " + _plural_prefix(niah),  # lead_space: lm_eval joins by a delimiter instead
        "needle": _constant(niah, "NEEDLE"),
        "noise": _noise(niah),
        "vt_template": vt["template"],
        "vt_prefix": vt["answer_prefix"],
        "cwe_template": cwe["template"],
        "cwe_prefix": cwe["answer_prefix"],
        "fwe_template": fwe["template"],
        "fwe_prefix": fwe["answer_prefix"],
        "qa_template": qa["template"],
        "qa_prefix": " " + qa["answer_prefix"],  # lead_space
        "qa_document": _constant(trees["qa_utils"], "DOCUMENT_PROMPT"),
    }
    return texts, niah, f"lm_eval {version('lm_eval')}"


def _from_checkout(checkout: Path) -> tuple[dict[str, str], ast.Module, str]:
    folder = checkout / SYNTHETIC
    if not (folder / "constants.py").is_file():
        raise ValueError(f"${CHECKOUT} must name a checkout of RULER, and {folder} has no constants.py")
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")}
    tasks, texts = _constant(trees["constants"], "TASKS"), {}
    short = {"niah": "niah", "variable_tracking": "vt", "common_words_extraction": "cwe", "qa": "qa"}
    for name, key in (short | {"freq_words_extraction": "fwe"}).items():
        texts[f"{key}_template"], texts[f"{key}_prefix"] = tasks[name]["template"], tasks[name]["answer_prefix"]
    texts["needle"], texts["noise"] = _constant(trees["niah"], "needle"), _noise(trees["niah"])
    texts["qa_document"] = _constant(trees["qa"], "DOCUMENT_PROMPT")
    return texts, trees["niah"], str(checkout)


def _folder() -> Path:
    try:
        folder = Path(str(distribution("lm_eval").locate_file("lm_eval/tasks/ruler")))
    except PackageNotFoundError:
        raise ValueError("lm_eval is not installed; RULER's wording is read from it: pip install lm-eval") from None
    if not folder.is_dir():
        raise ValueError(f"lm_eval {version('lm_eval')} carries no RULER tasks; install the version of constraints.txt")
    return folder


def _constant(tree: ast.Module, name: str) -> Any:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return ast.literal_eval(node.value)
    raise ValueError(f"RULER's constant {name} is not where it was; install the lm_eval version of constraints.txt")


def _plural_prefix(tree: ast.Module) -> str:
    """The second branch of the conditional under the dictionary key `gen_prefix`, as a format string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "gen_prefix" and isinstance(value, ast.IfExp):
                    return _format_string(value.orelse)
    raise ValueError(
        f"lm_eval {version('lm_eval')} words its needle answers otherwise; install the version of constraints.txt"
    )


def _format_string(node: ast.expr) -> str:
    assert isinstance(node, ast.JoinedStr)
    parts = []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
        else:
            names = [n.id for n in ast.walk(part) if isinstance(n, ast.Name)]
            parts.append("{" + names[-1] + "}")
    return "".join(parts)


def _noise(tree: ast.Module) -> str:
    """The longest string literal assigned to the local `haystack`."""
    found = [
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "haystack" for t in node.targets)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    return max(found, key=len)


def _singular_pairs(tree: ast.Module) -> tuple[tuple[str, str], ...]:
    pairs = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "replace"
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "template"
        ):
            old, new = (ast.literal_eval(argument) for argument in node.args)
            pairs.append((node.lineno, (str(old), str(new))))
    return tuple(pair for _, pair in sorted(pairs))
