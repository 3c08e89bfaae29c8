"""Seals: a record of a store says what was written there, or it is found out when it is read.

A record carries a hash over all that it says, its key and its identity included, and its key is the hash of its
identity. So a score that somebody edits, a bit that a disk flips and a record under another's name are seen; what is
seen counts as missing. Lines of a file (losses, trajectories) carry one each, bound to the file that they belong to.

Records of earlier days have no seal. They count when their key is that of their identity, their date is of those
days and they have no field that records of those days did not have: a seal whose name was damaged leaves such a field
behind, and a record from which somebody took the seal has a later date. A seal is no signature: who edits a record can
also write a new seal.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

FORMAT = 1  # raised when a reader of the old format would misread the new one
SEAL = "seal"  # the field, in every file that has one
SEALED_SINCE = "2026-11-26T02"  # UTC; records of later dates were written with one


def canonical(value: Any) -> str:
    """One text per value: sorted keys, no spaces, no NaN. What keys are hashed from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def key_of(identity: Mapping[str, Any]) -> str:
    """The key of a cell: 24 hex digits over all that changes its number and nothing else."""
    return hashlib.sha256(canonical({"format": FORMAT, **identity}).encode()).hexdigest()[:24]


def sealed(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The content in JSON's types with its seal. `kind` says what it is (cell, search, losses of KEY), so that nothing
    passes for something else. Raises ValueError for a NaN or an infinity, which JSON cannot hold."""
    plain = json.loads(json.dumps({**content}, allow_nan=False))
    return {**plain, SEAL: _seal_of(kind, plain)}


def _seal_of(kind: str, content: Mapping[str, Any]) -> str:
    """32 hex digits over a content but for its seal."""
    rest = {name: value for name, value in content.items() if name != SEAL}
    return hashlib.sha256(f"{kind} {canonical(rest)}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def broken_seal(kind: str, content: Mapping[str, Any], unsealed: Collection[str]) -> str:
    """What shows that a content is not what was written, or ''. `unsealed`: the fields of those without a seal."""
    if SEAL not in content:
        if (written := _date_of(content)) > SEALED_SINCE:
            return f"it has no seal and is of {written[:10]}, when records had one"
        strange = sorted(set(content) - set(unsealed))
        return f"it has no seal and a field {strange[0]!r}" if strange else ""
    try:
        whole = content[SEAL] == _seal_of(kind, content)
    except (ValueError, RecursionError):  # NaN, which is never written
        whole = False
    return "" if whole else "it does not say what was written: its seal does not fit"


def _date_of(content: Mapping[str, Any]) -> str:
    """When a record says that it was written, or ''."""
    provenance = content.get("provenance")
    date = provenance.get("date") if isinstance(provenance, dict) else content.get("created")
    return date if isinstance(date, str) else ""


def wrong_key(key: str, content: Mapping[str, Any]) -> str:
    """What is wrong with the key or the identity of a record, or ''. `key` is what the file's name says."""
    if content.get("key") != key:
        return "it has another key than its name says"
    identity = content.get("identity")
    if SEAL in content and identity == {}:
        return ""
    try:
        right = isinstance(identity, dict) and key_of(identity) == key
    except (ValueError, RecursionError):
        right = False
    return "" if right else "its key is not that of its identity"
