"""The contract of a method: what a model was trained with, what it runs with, and the function between.

A method is a frozen dataclass with one pure function, `plan(rope, length) -> RopePlan`. Its file name is its
name in an experiment file; nothing else lists it. Rotary pairs are counted i = 0 … d/2-1, where i = 0 turns
fastest (highest frequency, shortest period).
"""

import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import json
import math
import operator
import pkgutil
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import extenders
from extenders._user_code import contain, contained
from extenders.pieces import Piece, check_pieces


@dataclass(frozen=True)
class LengthRule:
    """What a checkpoint's own configuration does with a prompt longer than `above` tokens.

    Of the two kinds one is given: another list of frequencies (longrope), or a base that grows with the prompt (dynamic
    NTK: θ' = θ · (1 + growth · (n/above - 1))^(d/(d-2)) for n tokens, as transformers computes it).
    """

    above: int  # tokens
    inv_freq: tuple[float, ...] | None = None  # radians per token, one a pair
    attention_factor: float = 1.0  # of that list; multiplies cos and sin
    growth: float | None = None


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
    beyond: LengthRule | None = None  # the checkpoint's own rule for longer prompts, where it has one
    notes: tuple[str, ...] = field(default=(), compare=False)  # what a reader of the numbers has to know of this model

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

    def pair_of_period(self, tokens: float) -> float:
        """Real-valued index of the textbook pair that turns once in so many tokens: (d/2) · log_θ(tokens/2π)."""
        return self.rotary_dims / 2 * math.log(tokens / (2 * math.pi)) / math.log(self.rope_theta)

    def own_plan(self, length: int) -> "RopePlan":
        """What the checkpoint itself runs a prompt of `length` tokens with, new tokens included."""
        rule = self.beyond
        if rule is None or length <= rule.above:
            return RopePlan.as_trained(self)
        if rule.inv_freq is not None:
            return RopePlan(rule.inv_freq, rule.attention_factor)
        assert rule.growth is not None
        pairs = len(self.inv_freq)
        scale = 1 + rule.growth * (length / rule.above - 1)
        return RopePlan.rescaled(self, [scale ** (i / max(pairs - 1, 1)) for i in range(pairs)])

    @property
    def critical_pair(self) -> int:
        """Index of the first pair that never sees a full period in training (LongRoPE2, arXiv:2502.20082, §3.1).

        ceil((d/2) · log_θ(L/2π)), clipped to [0, d/2].
        """
        return min(max(math.ceil(self.pair_of_period(self.trained_length)), 0), self.rotary_dims // 2)


def _tokens(count: object) -> int:
    """The number as an int; numpy's whole numbers count. Raises ValueError for what is no number of tokens."""
    try:
        tokens = operator.index(count)  # type: ignore[arg-type]
    except TypeError:
        tokens = 2**63
    if tokens < 0:
        raise ValueError(f"keep_first must not be negative, got {count}")
    if isinstance(count, bool) or tokens >= 2**63:
        raise ValueError(f"keep_first must be a whole number of tokens, got {count!r}")
    return tokens


PIECES_VERSION = 1  # raised when the same pieces would give other logits


@dataclass(frozen=True)
class RopePlan:
    """What a model runs with for one prompt.

    `attention_factor` multiplies cos and sin, so the rotated part of an attention logit sees its square.
    `query_factor` multiplies queries, so the whole logit sees it once, in the layers that rotate; it is relative to the
    checkpoint's own softmax scale. The first `keep_first` positions (LongRoPE's n̂) keep the trained frequencies. With
    `pieces` queries and keys are at mapped positions: see `extenders.pieces`.
    """

    inv_freq: tuple[float, ...]  # radians per token, d/2 values
    attention_factor: float = 1.0
    keep_first: int = 0  # tokens
    query_factor: float = 1.0
    pieces: tuple[Piece, ...] = ()  # empty: every token at its own position

    def __post_init__(self) -> None:
        object.__setattr__(self, "inv_freq", tuple(float(value) for value in self.inv_freq))
        for name in ("attention_factor", "query_factor"):
            object.__setattr__(self, name, float(getattr(self, name)))
        wrong = [i for i, value in enumerate(self.inv_freq) if not (math.isfinite(value) and value >= 0)]
        if wrong:
            value = self.inv_freq[wrong[0]]
            raise ValueError(f"inverse frequencies must be finite and not negative; pair {wrong[0]} is {value}")
        for name in ("attention_factor", "query_factor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and above 0, got {value}")
        object.__setattr__(self, "keep_first", _tokens(self.keep_first))
        if self.keep_first and self.query_factor != 1:
            raise ValueError("a plan cannot keep first tokens and multiply queries; use keep_first 0")
        object.__setattr__(self, "pieces", tuple(self.pieces))
        if self.pieces and self.keep_first:
            raise ValueError(
                f"a plan that maps positions keeps no first tokens, got keep_first {self.keep_first}; use 0"
            )
        if self.pieces:
            check_pieces(self.pieces, len(self.inv_freq))

    @classmethod
    def as_trained(cls, rope: RopeSpec) -> "RopePlan":
        """The identity: what the checkpoint itself uses."""
        return cls(rope.inv_freq, rope.attention_factor)

    @classmethod
    def rescaled(
        cls, rope: RopeSpec, factors: Sequence[float], attention_factor: float = 1.0, keep_first: int = 0
    ) -> "RopePlan":
        """Divide the trained frequency of every pair by its rescale factor λ_i.

        A factor of infinity stops the pair: frequency 0, the same angle at every position.
        `attention_factor` is relative to the trained one. Raises ValueError on a wrong number of factors or
        one that is not positive.
        """
        pairs = len(rope.inv_freq)
        if len(factors) != pairs:
            raise ValueError(f"this model has {pairs} rotary pairs and so needs {pairs} factors, got {len(factors)}")
        wrong = [i for i, factor in enumerate(factors) if not factor > 0]  # NaN is none either
        if wrong:
            raise ValueError(
                f"rescale factors must be above 0 (infinity stops a pair); factor {wrong[0]} is {factors[wrong[0]]}"
            )
        inv_freq = tuple(value / factor for value, factor in zip(rope.inv_freq, factors, strict=True))
        return cls(inv_freq, rope.attention_factor * attention_factor, keep_first)

    def rescale_factors(self, rope: RopeSpec) -> tuple[float, ...]:
        """λ_i = trained frequency / planned frequency, relative to the checkpoint as trained.

        A pair that turns in neither (frequency 0) has 1, one that this plan stopped has infinity.
        """
        pairs = zip(rope.inv_freq, self.inv_freq, strict=True)
        return tuple(t / p if p else (math.inf if t else 1.0) for t, p in pairs)

    @property
    def hash(self) -> str:
        """16 hex digits over the float64 bytes of every value; equal plans have equal hashes on every machine."""
        packed = struct.pack(f"<{len(self.inv_freq)}ddq", *self.inv_freq, self.attention_factor, self.keep_first)
        if self.query_factor != 1:  # plans from before there was one keep their hashes
            packed += struct.pack("<d", self.query_factor)
        if self.pieces:
            packed += json.dumps([PIECES_VERSION, *map(dataclasses.astuple, self.pieces)]).encode()
        return hashlib.sha256(packed).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Extender:
    """A method. Subclasses add their parameters as fields and implement `plan`.

    `target_length` (tokens) is what the experiment wants to reach; every method has it. A subclass with its own
    `__post_init__` calls `super().__post_init__()` first.

    A method computes its rescale factors from the textbook frequencies θ^(-2i/d) and applies them to the trained
    ones (`RopePlan.rescaled`). The two differ only for a checkpoint that is already scaled; there the method
    comes on top of that scaling, and factor 1 still is the identity.

    `version` is for shipped methods: it is raised by hand when a method, or something that it imports, changes so that
    a plan may differ at a length that no probe looks at, or that its search ends elsewhere. What depends on that is
    computed anew then. A method of yours need not raise it: its file's content counts.
    """

    version: ClassVar[int] = 1
    cuts_context: ClassVar[bool] = False  # whether the model sees the last tokens of its trained window alone

    target_length: int

    def __post_init__(self) -> None:
        if isinstance(self.target_length, bool) or not isinstance(self.target_length, int) or self.target_length < 1:
            raise ValueError(f"target_length must be a whole number of tokens above 0, got {self.target_length!r}")

    def factor(self, rope: RopeSpec) -> float:
        """s = target length / trained length, never below 1."""
        return max(1.0, self.target_length / rope.trained_length)

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        """What the model runs with for one prompt of `length` tokens, new tokens included.

        Pure: the same arguments give the same plan, and nothing is remembered. A factor of 1 gives
        `RopePlan.as_trained(rope)`.
        """
        raise NotImplementedError

    @classmethod
    def example(cls, rope: RopeSpec) -> dict[str, Any]:
        """Parameters beside `target_length` that the contract tests make the method with.

        Only a method with a required parameter overrides this.
        """
        return {}

    @property
    def training_length(self) -> int:
        """The target of a training under this method, in tokens; a method that is tested further overrides it."""
        return self.target_length

    @property
    def name(self) -> str:
        """The file's name, which is the method's name in an experiment file."""
        return type(self).__module__.rpartition(".")[2]

    def parameters(self) -> dict[str, Any]:
        """All fields but the target length."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "target_length"}

    def inside(self) -> "tuple[Extender, ...]":
        """The methods that this one is made of, whose versions are in its keys too: those among its fields."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return tuple(value for value in values if isinstance(value, Extender))

    def plan_parameters(self) -> dict[str, Any]:
        """The parameters that a plan depends on; a searched method leaves out how its numbers were found."""
        return self.parameters()


NOT_METHODS = {"base", "pieces", "search", "training"}


def names(folders: Sequence[Path] = ()) -> list[str]:
    """Every method: one per file in this package and in the given user folders; files with a leading _ are none."""
    every = {module.name for module in pkgutil.iter_modules(extenders.__path__)} - NOT_METHODS
    for folder in folders:
        every |= {path.stem for path in Path(folder).glob("*.py") if path.stem.isidentifier()}
    return sorted(name for name in every if not name.startswith("_"))


def load(name: str, folders: Sequence[Path] = ()) -> type[Extender]:
    """The method class of that name; a user's file wins over nothing and never over a shipped method.

    Raises ValueError for an unknown name, a name that two files have, a file that cannot be imported, or one
    without exactly one method.
    """
    known = names(folders)
    if name not in known:
        near = difflib.get_close_matches(name[:80], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"no method is named {name!r}{hint} there are {', '.join(known)}")
    user_files = [Path(folder) / f"{name}.py" for folder in folders if (Path(folder) / f"{name}.py").is_file()]
    shipped = name in names()
    if shipped and user_files:
        raise ValueError(f"{user_files[0]} has the name of a shipped method; rename the file")
    if len(user_files) > 1:
        raise ValueError(f"{user_files[0]} and {user_files[1]} have the same name; rename one of them")
    module = importlib.import_module(f"extenders.{name}") if shipped else _import_file(user_files[0])
    methods = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Extender) and value.__module__ == module.__name__
    ]
    if len(methods) != 1:
        raise ValueError(f"{module.__file__} must define exactly one Extender, found {len(methods)}")
    if not shipped:
        contain(methods[0], Extender)
    return methods[0]


def _import_file(path: Path) -> ModuleType:
    """Import a user's file under a name of its own, so that json.py does not replace the real `json`.

    The same content at the same place is the same module, so its class is the same class.
    """
    path = path.resolve()
    content = hashlib.sha256(str(path).encode("utf-8", "surrogateescape") + b"\0" + path.read_bytes()).hexdigest()[:16]
    module_name = f"user_method_{content}.{path.stem}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses looks the module up by name
    try:
        with contained(path.name):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        del sys.modules[module_name]
        raise
    except Exception as error:
        del sys.modules[module_name]
        raise ValueError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    parent = module_name.partition(".")[0]
    sys.modules.setdefault(parent, ModuleType(parent))  # pickle looks it up
    return module
