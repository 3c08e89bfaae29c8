"""The contract of a method: what a model was trained with, what it runs with, and the function between.

A method is a frozen dataclass with one pure function, `plan(rope, length) -> RopePlan`. Its file name is its
name in an experiment file; nothing else lists it. Rotary pairs are counted i = 0 … d/2-1, where i = 0 turns
fastest (highest frequency, shortest period).
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import math
import pkgutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import extenders


@dataclass(frozen=True)
class RopeSpec:
    """What a model was trained with.

    `inv_freq` is in radians per token, one value for each of the `rotary_dims / 2` pairs, exactly as the
    checkpoint uses it: a checkpoint that already carries a scaling (Llama 3.1) has scaled values here, while
    `base_inv_freq` stays the textbook θ^(-2i/d).
    """

    rotary_dims: int  # d: dimensions of a head that rotate; less than head_dim with partial rotary
    rope_theta: float  # θ
    trained_length: int  # L, tokens
    inv_freq: tuple[float, ...]
    attention_factor: float = 1.0  # as trained; multiplies cos and sin
    layer_type: str = ""  # "" when all layers rotate alike, else the type that a plan covers ("full_attention")

    def __post_init__(self) -> None:
        if len(self.inv_freq) * 2 != self.rotary_dims:
            raise ValueError(
                f"a model that rotates {self.rotary_dims} dimensions has {self.rotary_dims // 2} inverse "
                f"frequencies, got {len(self.inv_freq)}"
            )

    @property
    def base_inv_freq(self) -> tuple[float, ...]:
        """θ^(-2i/d) for every pair, before any scaling."""
        return tuple(self.rope_theta ** (-2 * i / self.rotary_dims) for i in range(self.rotary_dims // 2))

    @property
    def critical_pair(self) -> int:
        """Index of the first pair that never sees a full period in training (LongRoPE2, arXiv:2502.20082, §3.1).

        ceil((d/2) · log_θ(L/2π)), clipped to [0, d/2].
        """
        pairs = self.rotary_dims // 2
        exact = pairs * math.log(self.trained_length / (2 * math.pi)) / math.log(self.rope_theta)
        return min(max(math.ceil(exact), 0), pairs)


@dataclass(frozen=True)
class RopePlan:
    """What a model runs with for one prompt.

    `attention_factor` multiplies cos and sin, so attention logits see its square. The first `keep_first`
    positions (LongRoPE's n̂) keep the trained frequencies.
    """

    inv_freq: tuple[float, ...]  # radians per token, d/2 values
    attention_factor: float = 1.0
    keep_first: int = 0  # tokens

    def __post_init__(self) -> None:
        object.__setattr__(self, "inv_freq", tuple(float(value) for value in self.inv_freq))
        object.__setattr__(self, "attention_factor", float(self.attention_factor))
        wrong = [i for i, value in enumerate(self.inv_freq) if not (math.isfinite(value) and value >= 0)]
        if wrong:
            raise ValueError(f"inverse frequencies must be finite and not negative; pair {wrong[0]} is {self.inv_freq[wrong[0]]}")
        if not (math.isfinite(self.attention_factor) and self.attention_factor > 0):
            raise ValueError(f"attention_factor must be finite and above 0, got {self.attention_factor}")
        if self.keep_first < 0:
            raise ValueError(f"keep_first must not be negative, got {self.keep_first}")

    @classmethod
    def as_trained(cls, rope: RopeSpec) -> "RopePlan":
        """The identity: what the checkpoint itself uses."""
        return cls(rope.inv_freq, rope.attention_factor)

    @classmethod
    def rescaled(
        cls, rope: RopeSpec, factors: Sequence[float], attention_factor: float = 1.0, keep_first: int = 0
    ) -> "RopePlan":
        """Divide the trained frequency of every pair by its rescale factor λ_i.

        `attention_factor` is relative to the trained one. Raises ValueError on a wrong number of factors or
        one that is not positive.
        """
        if len(factors) != len(rope.inv_freq):
            raise ValueError(f"this model has {len(rope.inv_freq)} rotary pairs and so needs {len(rope.inv_freq)} factors, got {len(factors)}")
        wrong = [i for i, factor in enumerate(factors) if not (math.isfinite(factor) and factor > 0)]
        if wrong:
            raise ValueError(f"rescale factors must be finite and above 0; factor {wrong[0]} is {factors[wrong[0]]}")
        inv_freq = tuple(value / factor for value, factor in zip(rope.inv_freq, factors, strict=True))
        return cls(inv_freq, rope.attention_factor * attention_factor, keep_first)

    def rescale_factors(self, rope: RopeSpec) -> tuple[float, ...]:
        """λ_i = trained frequency / planned frequency, relative to the checkpoint as trained."""
        return tuple(t / p if p else math.inf for t, p in zip(rope.inv_freq, self.inv_freq, strict=True))

    @property
    def hash(self) -> str:
        """16 hex digits over the float64 bytes of every value; equal plans have equal hashes on every machine."""
        packed = struct.pack(f"<{len(self.inv_freq)}ddq", *self.inv_freq, self.attention_factor, self.keep_first)
        return hashlib.sha256(packed).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Extender:
    """A method. Subclasses add their parameters as fields and implement `plan`.

    `target_length` (tokens) is what the experiment wants to reach; every method has it.
    """

    target_length: int

    def factor(self, rope: RopeSpec) -> float:
        """s = target length / trained length, never below 1."""
        return max(1.0, self.target_length / rope.trained_length)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        """What the model runs with for one prompt of `length` tokens, new tokens included.

        Pure: the same arguments give the same plan, and nothing is remembered. A factor of 1 gives
        `RopePlan.as_trained(rope)`.
        """
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The file's name, which is the method's name in an experiment file."""
        return type(self).__module__.rpartition(".")[2]

    def parameters(self) -> dict[str, Any]:
        """All fields but the target length."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "target_length"}


NOT_METHODS = {"base", "search", "training"}


def names(folders: Sequence[Path] = ()) -> list[str]:
    """Every method: one per file in this package and in the given user folders."""
    found = {module.name for module in pkgutil.iter_modules(extenders.__path__)} - NOT_METHODS
    found = {name for name in found if not name.startswith("_")}
    for folder in folders:
        found |= {path.stem for path in Path(folder).glob("*.py") if path.stem.isidentifier() and not path.stem.startswith("_")}
    return sorted(found)


def load(name: str, folders: Sequence[Path] = ()) -> type[Extender]:
    """The method class of that name; a user's file wins over nothing and never over a shipped method.

    Raises ValueError for an unknown name, a name that is both shipped and a user's, or a file without
    exactly one method.
    """
    user_files = [Path(folder) / f"{name}.py" for folder in folders if (Path(folder) / f"{name}.py").is_file()]
    shipped = name in names()
    if shipped and user_files:
        raise ValueError(f"{user_files[0]} has the name of a shipped method; rename the file")
    if shipped:
        module = importlib.import_module(f"extenders.{name}")
    elif user_files and name.isidentifier():
        module = _import_file(user_files[0])
    else:
        raise ValueError(f"no method is named {name!r}; there are {', '.join(names(folders))}")
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Extender) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ValueError(f"{module.__file__} must define exactly one Extender, found {len(found)}")
    return found[0]


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[path.stem] = module  # dataclasses looks the module up by name
    spec.loader.exec_module(module)
    return module
