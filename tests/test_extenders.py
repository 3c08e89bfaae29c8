"""What every method must hold, found by itself: a new file is tested the moment it exists."""

import dataclasses
import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extenders import base
from extenders._factor_file import read_factors
from extenders._published import published
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.factors import Factors
from extenders.llama3 import Llama3
from extenders.none import NoExtension
from extenders.pi import PositionInterpolation
from extenders.yarn import Yarn

SHIPPED = {"none", "pi", "ntk", "dynamic_ntk", "yarn", "llama3", "factors"}
SHIPPED |= {"ramp", "mrrope_uni", "mrrope_pro", "late_ramp", "ntk_by_parts", "dynamic_yarn", "yarn_gpt_oss"}
SHIPPED |= {"yarn_deepseek", "ntk_hunyuan"}
STOPPING = {"cope", "hard_clip", "p_rope"}  # their slowest pairs have frequency 0
FASTER = {"resonance"}  # rounds the fastest pair's 6.28 tokens to 6


def textbook(rotary_dims: int, theta: float, trained_length: int) -> RopeSpec:
    return RopeSpec(
        rotary_dims, theta, trained_length, tuple(theta ** (-2 * i / rotary_dims) for i in range(rotary_dims // 2))
    )


def already_scaled(rope: RopeSpec) -> RopeSpec:
    """The same model as a checkpoint that was released with a scaling of its own."""
    plan = Llama3(target_length=8 * rope.trained_length).plan(rope, 1)
    return dataclasses.replace(rope, inv_freq=plan.inv_freq, attention_factor=1.1)


ROPES = {
    "llama3-8b": textbook(128, 5e5, 8192),
    "phi3-mini": textbook(96, 1e4, 2048),
    "small": textbook(32, 1e4, 512),
    "one-pair": textbook(2, 1e4, 512),
    "scaled": already_scaled(textbook(64, 1e6, 4096)),
}


def make(method: type[Extender], rope: RopeSpec, scale: float = 16) -> Extender:
    return method(target_length=int(rope.trained_length * scale), **method.example(rope))


def lengths(rope: RopeSpec) -> list[int]:
    trained = rope.trained_length
    return [1, trained // 2, trained, trained + 1, 3 * trained, 16 * trained]


# --- the contract ---------------------------------------------------------------------------------------------------


def gives_one_good_frequency_per_pair(method: type[Extender], rope: RopeSpec) -> None:
    for length in lengths(rope):
        plan = make(method, rope).plan(rope, length)
        assert isinstance(plan, RopePlan)
        assert len(plan.inv_freq) == rope.rotary_dims // 2
        assert all(math.isfinite(value) and value >= 0 for value in plan.inv_freq)
        assert all(plan.inv_freq) or make(method, rope).name in STOPPING
        assert math.isfinite(plan.attention_factor) and plan.attention_factor > 0


def is_pure(method: type[Extender], rope: RopeSpec) -> None:
    """Plans do not depend on what was planned before: any order gives what a fresh method gives."""
    alone = {length: make(method, rope).plan(rope, length) for length in lengths(rope)}
    shared, order = make(method, rope), lengths(rope) * 3
    random.Random(f"{method.__name__}/order").shuffle(order)
    state = repr(shared)
    for length in order:
        assert shared.plan(rope, length) == alone[length]
    assert repr(shared) == state


def factor_1_is_the_identity(method: type[Extender], rope: RopeSpec) -> None:
    for scale in (1, 0.5):
        for length in lengths(rope):
            assert make(method, rope, scale).plan(rope, length) == RopePlan.as_trained(rope)


def has_stable_hashes(method: type[Extender], rope: RopeSpec) -> None:
    plans = [make(method, rope).plan(rope, length) for length in lengths(rope)]
    assert [plan.hash for plan in plans] == [make(method, rope).plan(rope, n).hash for n in lengths(rope)]
    assert len({plan.hash for plan in plans}) == len(set(plans))
    assert make(method, rope) == make(method, rope)
    assert hash(make(method, rope)) == hash(make(method, rope))


def is_a_frozen_dataclass(method: type[Extender], rope: RopeSpec) -> None:
    extender = make(method, rope)
    assert dataclasses.is_dataclass(method)
    with pytest.raises(dataclasses.FrozenInstanceError):
        extender.target_length = 1  # type: ignore[misc]
    assert dataclasses.replace(extender, target_length=7).target_length == 7
    assert method(target_length=extender.target_length, **extender.parameters()) == extender


def needs_only_what_example_gives(method: type[Extender], rope: RopeSpec) -> None:
    """A field without a default is in `example`, and nothing else is asked for."""
    required = {
        field.name
        for field in dataclasses.fields(method)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    assert required - {"target_length"} <= set(method.example(rope))
    assert make(method, rope).parameters().keys() >= method.example(rope).keys()


def says_what_it_is(method: type[Extender], rope: RopeSpec) -> None:
    assert (sys.modules[method.__module__].__doc__ or "").strip()
    assert make(method, rope).name == method.__module__.rpartition(".")[2]


CHECKS: list[Callable[[type[Extender], RopeSpec], None]] = [
    gives_one_good_frequency_per_pair,
    is_pure,
    factor_1_is_the_identity,
    has_stable_hashes,
    is_a_frozen_dataclass,
    needs_only_what_example_gives,
    says_what_it_is,
]


@pytest.mark.parametrize("rope", ROPES.values(), ids=ROPES.keys())
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", base.names())
def test_contract(name: str, check: Callable[[type[Extender], RopeSpec], None], rope: RopeSpec) -> None:
    check(base.load(name), rope)


@pytest.mark.slow
@pytest.mark.parametrize("name", base.names())
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    rotary_dims=st.integers(1, 64).map(lambda pairs: 2 * pairs),
    theta=st.floats(100, 1e8),
    trained_length=st.integers(64, 65536),
    scale=st.floats(1, 128),
    part=st.floats(0, 1),
)
def test_any_geometry(
    name: str, rotary_dims: int, theta: float, trained_length: int, scale: float, part: float
) -> None:
    rope = textbook(rotary_dims, theta, trained_length)
    method = base.load(name)
    extender = make(method, rope, scale)
    plan = extender.plan(rope, max(1, int(extender.target_length * part)))
    assert len(plan.inv_freq) == rotary_dims // 2
    fastest = 2 * math.pi / 6 if name in FASTER else 1
    assert all((0 < value or name in STOPPING) and 0 <= value <= fastest for value in plan.inv_freq)
    assert plan.attention_factor >= 1


def test_shipped_methods_are_found() -> None:
    assert set(base.names()) >= SHIPPED | STOPPING | FASTER
    assert not {"base", "search", "training"} & set(base.names())
    assert not [name for name in base.names() if name.startswith("_")]


@pytest.mark.parametrize("name", sorted(SHIPPED - {"none"}))
def test_a_method_does_something_beyond_the_trained_length(name: str) -> None:
    rope = ROPES["small"]
    plan = make(base.load(name), rope).plan(rope, 16 * rope.trained_length)
    factors = plan.rescale_factors(rope)
    assert factors[-1] > 1.5
    assert list(factors) == pytest.approx(sorted(factors))


@pytest.mark.parametrize("name", sorted(SHIPPED | STOPPING | FASTER))
def test_a_scaled_checkpoint_gets_the_same_rescale_factors_on_top(name: str) -> None:
    """Factors come from the textbook frequencies and divide the trained ones; the trained attention factor stays."""
    rope = textbook(64, 1e6, 4096)
    scaled = already_scaled(rope)
    extender = make(base.load(name), rope)
    ours, theirs = extender.plan(scaled, 65536), extender.plan(rope, 65536)
    assert ours.rescale_factors(scaled) == pytest.approx(theirs.rescale_factors(rope), rel=1e-12)
    assert ours.attention_factor == pytest.approx(1.1 * theirs.attention_factor)


def test_hash_is_the_same_on_every_machine() -> None:
    rope = RopeSpec(4, 16.0, 512, (1.0, 0.25))
    assert NoExtension(target_length=1024).plan(rope, 9).hash == "30b8f05de4147b99"
    assert PositionInterpolation(target_length=1024).plan(rope, 9).hash == "d8896129f6512ea6"
    assert RopePlan((1.0, 0.25), 1.0, 4).hash == "30f8ecf6dc1650bf"


def test_rescale_factors_of_pairs_that_do_not_turn() -> None:
    rope = RopeSpec(6, 1e4, 512, (1.0, 0.5, 0.0))
    assert RopePlan((1.0, 0.0, 0.0)).rescale_factors(rope) == (1.0, math.inf, 1.0)


def test_an_infinite_factor_stops_its_pair() -> None:
    rope = RopeSpec(6, 1e4, 512, (1.0, 0.5, 0.25))
    plan = RopePlan.rescaled(rope, [1.0, 2.0, math.inf])
    assert plan.inv_freq == (1.0, 0.25, 0.0)
    assert plan.rescale_factors(rope) == (1.0, 2.0, math.inf)
    assert RopePlan.rescaled(rope, [1.0, 2.0, 1e300]).inv_freq[2] > 0
    assert plan.hash == "1963bf50f0d55954"


# --- a user's method ------------------------------------------------------------------------------------------------

HALF = '''"""Half and half: the fast half of the pairs as trained, the slow half interpolated."""

from dataclasses import dataclass

from extenders.base import Extender, RopePlan, RopeSpec


@dataclass(frozen=True)
class HalfAndHalf(Extender):
    split: float = 0.5  # fraction of the pairs, fastest first, that stay as trained

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        pairs = len(rope.inv_freq)
        factors = [1.0 if i < self.split * pairs else self.factor(rope) for i in range(pairs)]
        return RopePlan.rescaled(rope, factors)
'''


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_users_file_is_a_method(tmp_path: Path) -> None:
    assert HALF.count("\n") <= 20
    write(tmp_path / "half_and_half.py", HALF)
    write(tmp_path / "_notes.py", "not a method")
    write(tmp_path / "not-a-name.py", "not a method")
    assert set(base.names([tmp_path])) == set(base.names()) | {"half_and_half"}
    method = base.load("half_and_half", [tmp_path])
    for check in CHECKS:
        for rope in ROPES.values():
            check(method, rope)
    parameters: dict[str, Any] = {"split": 0.25}
    factors = method(target_length=8192, **parameters).plan(ROPES["small"], 1).rescale_factors(ROPES["small"])
    assert factors == (1.0,) * 4 + (16.0,) * 12
    assert base.load("half_and_half", [tmp_path]) is method


def test_users_files_clash_with_nothing(tmp_path: Path) -> None:
    """Not with the standard library, not with each other; and an edited file is read again."""
    json_before = sys.modules["json"]
    one = write(tmp_path / "a" / "json.py", HALF)
    write(tmp_path / "b" / "json.py", HALF.replace("HalfAndHalf", "Other"))
    first, second = base.load("json", [tmp_path / "a"]), base.load("json", [tmp_path / "b"])
    assert (first.__name__, second.__name__) == ("HalfAndHalf", "Other")
    assert first(target_length=1).name == second(target_length=1).name == "json"
    assert sys.modules["json"] is json_before
    write(one, HALF.replace("0.5", "0.75"))
    assert base.load("json", [tmp_path / "a"])(target_length=1).parameters() == {"split": 0.75}
    with pytest.raises(ValueError, match="have the same name; rename one"):
        base.load("json", [tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("yarn", HALF, "has the name of a shipped method"),
        ("empty", "x = 1\n", "exactly one Extender, found 0"),
        ("imported", "from extenders.yarn import Yarn\n", "exactly one Extender, found 0"),
        ("two", HALF + HALF.replace("HalfAndHalf", "Other"), "exactly one Extender, found 2"),
        ("broken", "import no_such_module\n", "cannot be imported: ModuleNotFoundError"),
        ("typo", "def plan(:\n", "cannot be imported: SyntaxError"),
    ],
)
def test_wrong_users_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    write(tmp_path / f"{name}.py", text)
    modules = set(sys.modules)
    with pytest.raises(ValueError, match=message) as caught:
        base.load(name, [tmp_path])
    assert "\n" not in str(caught.value)
    assert message.startswith("exactly") or set(sys.modules) == modules


@pytest.mark.parametrize("name", ["yran", "base", "_formulas", "../yarn", "", "search"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match="no method is named .* there are .*yarn") as caught:
        base.load(name)
    assert ("did you mean 'yarn'?" in str(caught.value)) == (name in ("yran", "../yarn"))


# --- factors: lists, files, published sets --------------------------------------------------------------------------

TINY = textbook(8, 1e4, 512)
LIST = (1.0, 2.0, 3.5, 16.0)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("list.json", "[1, 2, 3.5, 16]"),
        ("rows.json", "[[1, 2, 3.5, 16], [1, 2, 3.5, 16]]"),
        ("named.json", '{"factors": [1, 2, 3.5, 16]}'),
        ("found.json", '{"rescale_factors": [1, 2, 3.5, 16], "loss": 2.0}'),
        ("config.json", '{"rope_parameters": {"long_factor": [1, 2, 3.5, 16], "short_factor": [1, 1, 1, 1]}}'),
        ("old.json", '{"rope_scaling": {"long_factor": [1, 2, 3.5, 16]}, "rope_parameters": null}'),
        ("line.csv", "1,2,3.5,16\n"),
        ("layers.csv", "1.00,2.00,3.50,16.00\n" * 3),
        ("spaces.txt", "# found on Monday\n1 2  3.5\t16"),
        ("column.txt", "1\n2\n\n3.5\n1.6e1\n"),
        ("windows.csv", "\ufeff1;2;3.5;16\r\n"),
    ],
)
def test_files_of_factors(tmp_path: Path, file: str, text: str) -> None:
    path = write(tmp_path / file, text)
    extender = Factors(target_length=8192, factors=str(path))
    assert extender.factors == LIST
    path.unlink()
    assert extender.plan(TINY, 8192).rescale_factors(TINY) == pytest.approx(LIST)
    relative_to: Any = "base" if "rope_" in text else "trained"  # which differ for a checkpoint that is scaled already
    assert extender == Factors(target_length=8192, factors=list(LIST), relative_to=relative_to)


def test_a_file_says_stopped_as_null_or_as_1e18(tmp_path: Path) -> None:
    for name, text in (("found.json", '{"rescale_factors": [1, 2, null, 1e18]}'), ("list.csv", "1,2,inf,1e18")):
        extender = Factors(target_length=8192, factors=str(write(tmp_path / name, text)))
        assert extender.factors == (1.0, 2.0, 1e18, 1e18)
        assert extender.plan(TINY, 8192).rescale_factors(TINY) == (1.0, 2.0, math.inf, math.inf)


def test_a_config_file_gives_both_lists(tmp_path: Path) -> None:
    lists = {"long_factor": LIST, "short_factor": [1, 1.25, 1.25, 1.5]}
    path = str(write(tmp_path / "config.json", json.dumps({"rope_scaling": lists})))
    extender = Factors(target_length=8192, factors=path, short_factors=path)
    assert extender.plan(TINY, 512).rescale_factors(TINY) == pytest.approx((1, 1.25, 1.25, 1.5))
    assert extender.plan(TINY, 513).rescale_factors(TINY) == pytest.approx(LIST)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no factors"),
        ("[]", "holds no factors"),
        ("# only a comment", "holds no factors"),
        ("[1, 2", "not valid JSON"),
        ('{"lambda": [1, 2]}', "no list of factors; name it long_factor"),
        ('[1, "2"]', "must hold a list of numbers"),
        ("[1, true]", "must hold a list of numbers"),
        ('{"factors": {"a": 1}}', "must hold a list of numbers"),
        ("1,2\n1,x\n", "line 2: factors are numbers, got '1,x'"),
        ("1,2,3\n1,2,4\n", "row 2 differs from the first"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "factors.txt", text)
    with pytest.raises(ValueError, match=message) as caught:
        read_factors(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        read_factors(tmp_path / "missing.json")
    with pytest.raises(ValueError, match="cannot read the factors"):
        read_factors(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match="not a text file"):
        read_factors(tmp_path / "binary")


def test_switch() -> None:
    by_length = Factors(target_length=8192, factors=LIST, keep_first=4)
    assert by_length.plan(TINY, 512) == RopePlan.as_trained(TINY)
    assert by_length.plan(TINY, 513).rescale_factors(TINY) == pytest.approx(LIST)
    assert by_length.plan(TINY, 513).keep_first == 4
    always = Factors(target_length=8192, factors=LIST, switch="always", keep_first=4)
    assert always.plan(TINY, 1) == always.plan(TINY, 8192) == by_length.plan(TINY, 513)


def test_attention_factors_by_name() -> None:
    def factor(wanted: float | str | None) -> float:
        return Factors(target_length=8192, factors=LIST, attention_factor=wanted).plan(TINY, 8192).attention_factor

    assert factor("longrope") == factor(None) == pytest.approx(math.sqrt(1 + math.log(16) / math.log(512)))
    assert factor("yarn") == pytest.approx(0.1 * math.log(16) + 1)
    assert factor(2) == 2


def test_published_sets_are_absolute() -> None:
    """A checkpoint that already carries the published scaling must not get it twice."""
    rope = textbook(96, 1e4, 4096)
    name = "published:phi-4-mini-128k"
    extender = Factors(target_length=131072, factors=name, short_factors=name)
    long = extender.plan(rope, 4097)
    assert long.rescale_factors(rope) == pytest.approx(published("phi-4-mini-128k").long)
    assert long.attention_factor == 1.1902380714238083
    carried = dataclasses.replace(rope, inv_freq=long.inv_freq, attention_factor=long.attention_factor)
    assert extender.plan(carried, 4097) == long
    # the short list is all ones, but the attention factor stays on, as its authors released it
    assert extender.plan(rope, 4096) == RopePlan(rope.base_inv_freq, 1.1902380714238083)


def test_a_recovery_list_serves_short_prompts() -> None:
    rope = textbook(128, 1e4, 4096)
    extender = Factors(
        target_length=131072, factors="published:v1-ft_la2_128k", short_factors="published:v1-4k_la2_128k"
    )
    recovery = published("v1-4k_la2_128k")
    assert recovery.short is None
    assert extender.plan(rope, 4096).rescale_factors(rope) == pytest.approx(recovery.long)


def test_published_sets_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="nearest are .*phi-4-mini-128k"):
        Factors(target_length=8192, factors="published:phi4-mini-128k")
    with pytest.raises(ValueError, match="models that rotate 96 dimensions .* this model rotates 8"):
        Factors(target_length=8192, factors="published:phi-4-mini-128k").plan(TINY, 8192)


# --- wrong parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("pi", {"target_length": 0}, "target_length must be a whole number of tokens above 0, got 0"),
        ("pi", {"target_length": 1e5}, "target_length must be a whole number"),
        ("pi", {"target_length": True}, "target_length must be a whole number"),
        ("yarn", {"target_length": -1}, "target_length must be a whole number"),
        ("ntk", {"critical_pair": 0}, "critical_pair must be a number above 0, got 0"),
        ("ntk", {"critical_pair": "real"}, "a number above 0 or 'theoretical', got 'real'"),
        ("dynamic_ntk", {"growth": -1.0}, "growth must be a number above 0"),
        ("dynamic_ntk", {"growth": math.inf}, "growth must be a number above 0"),
        ("yarn", {"beta_fast": "32"}, "beta_fast must be a number above 0, got '32'"),
        ("yarn", {"beta_slow": 0}, "beta_slow must be a number above 0"),
        ("yarn", {"beta_fast": 1, "beta_slow": 32}, "beta_fast must be above beta_slow, got 1 and 32"),
        ("yarn", {"attention_factor": 0}, "attention_factor must be a number above 0"),
        ("yarn", {"truncate": "no"}, "truncate must be true or false, got 'no'"),
        ("llama3", {"low_freq_factor": 4, "high_freq_factor": 4}, "must be above low_freq_factor, got 4 and 4"),
        ("llama3", {"divisor": math.nan}, "divisor must be a number above 0"),
        ("factors", {"factors": []}, "factors must be a list of numbers, a file or 'published:NAME'"),
        ("factors", {"factors": 3}, "factors must be a list of numbers"),
        ("factors", {"factors": [1, 0, 1]}, "factors: factor 1 must be a number above 0, got 0"),
        ("factors", {"factors": [1, math.nan]}, "factors: factor 1 must be a number above 0, got nan"),
        ("factors", {"factors": [1, "2"]}, "factors: factor 1 must be a number above 0, got '2'"),
        ("factors", {"factors": [1], "short_factors": [-1]}, "short_factors: factor 0 must be a number above 0"),
        ("factors", {"factors": [1], "switch": "never"}, "switch must be 'by_length' or 'always', got 'never'"),
        ("factors", {"factors": [1], "short_factors": [1], "switch": "always"}, "'always' never uses short_factors"),
        ("factors", {"factors": [1], "attention_factor": "su"}, "'longrope' or 'yarn', got 'su'"),
        ("factors", {"factors": [1], "attention_factor": -1}, "attention_factor must be a number above 0"),
        ("factors", {"factors": [1], "keep_first": 1.5}, "keep_first must be a whole number, 0 or more, got 1.5"),
    ],
)
def test_wrong_parameters(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        base.load(name)(**{"target_length": 8192, **parameters})
    assert "\n" not in str(caught.value)


def test_a_list_of_the_wrong_length() -> None:
    with pytest.raises(ValueError, match="has 4 rotary pairs and so needs 4 factors, got 3"):
        Factors(target_length=8192, factors=[1, 2, 3]).plan(TINY, 8192)


def test_wrong_plans() -> None:
    with pytest.raises(ValueError, match="rotates 6 dimensions has 3 inverse frequencies, got 2"):
        RopeSpec(6, 1e4, 512, (1.0, 0.5))
    with pytest.raises(ValueError, match="factor 1 is nan"):
        RopePlan.rescaled(TINY, [1, math.nan, 1, 1])
    for inv_freq in [(1.0, -0.5), (1.0, math.inf), (1.0, math.nan)]:
        with pytest.raises(ValueError, match="finite and not negative; pair 1"):
            RopePlan(inv_freq)
    for attention_factor in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="attention_factor must be finite and above 0"):
            RopePlan((1.0,), attention_factor)
    with pytest.raises(ValueError, match="keep_first must not be negative"):
        RopePlan((1.0,), 1.0, -1)


def test_yarn_ramp_without_width() -> None:
    """One fast pair and a long window: the ramp begins and ends at pair 1, and pair 0 is before it."""
    rope = textbook(2, 100, 65536)
    extender = Yarn(target_length=4 * 65536)
    assert extender.ramp(rope) == (1, 1)
    assert extender.plan(rope, 1).inv_freq == rope.inv_freq


def test_an_overridden_attention_factor_needs_a_factor_above_1() -> None:
    """Factor 1 is the identity even then."""
    rope = ROPES["small"]
    assert Yarn(target_length=512, attention_factor=1.3).plan(rope, 512) == RopePlan.as_trained(rope)
    assert Yarn(target_length=1024, attention_factor=1.3).plan(rope, 512).attention_factor == 1.3
