"""How hard RULER's rows are: the settings of its synthetic.yaml, by the names that they have there.

A row with another setting is no row of the 13: its name in tables says the setting, and no average of RULER's holds it.
"""

from collections.abc import Mapping
from typing import Any

from tasks.base import unknown

Setting = int | float
OF_NEEDLES = ("num_needle_k", "num_needle_v", "num_needle_q")
DEPTHS_OF_AN_ESSAY = 40  # places that RULER draws needles from
# by the wording's name: setting, RULER's own value, least and most
SETTINGS: dict[str, dict[str, tuple[Setting, Setting, Setting]]] = {
    "vt": {"num_chains": (1, 1, 100), "num_hops": (4, 1, 4)},
    "cwe": {"freq_cw": (30, 1, 10_000), "freq_ucw": (3, 1, 10_000), "num_cw": (10, 1, 100)},
    "fwe": {"alpha": (2.0, 1.01, 10.0)},
    "niah": {name: (1, 1, 100) for name in OF_NEEDLES},
    "qa": {},
}
NAMES = tuple(name for settings in SETTINGS.values() for name in settings)


def checked(row: str, said: str, own: Mapping[str, Setting], given: Mapping[str, Any]) -> dict[str, Setting]:
    """The settings that differ from the row's own. `said` is the name of its wording.

    Raises ValueError for a setting that the row has not, or a value that RULER's generator cannot do.
    """
    found: dict[str, Setting] = {}
    for name, value in given.items():
        if name not in SETTINGS[said]:
            raise ValueError(unknown(f"setting of {row}", name, list(SETTINGS[said])))
        _, least, most = SETTINGS[said][name]
        kind = (int, float) if isinstance(least, float) else int
        if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
            whole = "" if isinstance(least, float) else "a whole number "
            why = "; NVIDIA's script of c3f5e3b ends with an error above, because its first try has 5 lines" * (
                name == "num_hops"
            )
            raise ValueError(f"{row}: {name} must be {whole}in {least} … {most}, got {value!r}{why}")
        if value != own[name]:
            found[name] = value
    if said == "cwe":
        often, seldom = found.get("freq_cw", own["freq_cw"]), found.get("freq_ucw", own["freq_ucw"])
        if often <= seldom:
            raise ValueError(f"{row}: common words come more often than others, got freq_cw {often}, freq_ucw {seldom}")
    return found


def own_of_needles(keys: int, values: int, queries: int) -> dict[str, Setting]:
    return dict(zip(OF_NEEDLES, (keys, values, queries), strict=True))
