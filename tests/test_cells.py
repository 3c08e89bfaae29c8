"""Keys: all that changes a number changes the key, and nothing else does."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest
from fake_engine import ROPE, Count, experiment, methods

import extenders.base
from extenders.base import Extender, RopePlan, RopeSpec
from extenders.search.searched import SearchedExtender
from extenders.training.planned import PlannedInside
from extenders.training.switched import OriginalInside
from harness.experiment.cells import Base, cells_of, content_of, plain, plan_signature, probes, task_identity
from harness.experiment.file import Method, Test
from harness.search import stage as searching

BASE = Base("w" * 16, ROPE, "float32", "sdpa")


def keys(base: Base = BASE, **changes: Any) -> list[str]:
    return [cell.key for cell in cells_of(experiment(**changes), base)]


def one(**changes: Any) -> dict[str, Any]:
    return {
        "methods": methods("pi"),
        "tests": (Test("count", Count(), 4),),
        "lengths": (128,),
        "seeds": (0,),
        **changes,
    }


def renamed(label: str) -> tuple[Method, ...]:
    return (Method(label, methods("pi")[0].extender),)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"model": "/elsewhere/same-weights"},
        {"folder": Path("/elsewhere")},
        {"methods": renamed("another label")},
        {"tests": (Test("another label", Count(), 4),)},
        {"notes": ("said",)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_not_in_a_key(changes: dict[str, Any]) -> None:
    assert keys(**one(**changes)) == keys(**one())


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": (127,)},
        {"seeds": (1,)},
        {"tests": (Test("count", Count(), 5),)},
        {"tests": (Test("count", Count(value=0.5), 4),)},
        {"tests": (Test("count", Count(empty=True), 4),)},
        {"methods": methods("none")},
        {"methods": methods("pi", target=512), "target_length": 512},
    ],
    ids=str,
)
def test_what_is_in_a_key(changes: dict[str, Any]) -> None:
    assert set(keys(**one(**changes))).isdisjoint(keys(**one()))


def test_cut_prompts_have_keys_of_their_own_beyond_the_window() -> None:
    """The plan is that of the unextended model; inside the window so is all that is computed."""
    window = ROPE.trained_length
    for length, alike in ((window, True), (window + 1, False)):
        made = {name: extenders.base.load(name)(target_length=256) for name in ("sliding_window", "none")}
        cut, plain = (keys(**one(methods=(Method(name, made[name]),), lengths=(length,))) for name in made)
        assert (cut == plain) == alike


@pytest.mark.parametrize("change", [{"weights_hash": "v" * 16}, {"dtype": "bfloat16"}, {"attention": "eager"}], ids=str)
def test_the_model_is_in_a_key(change: dict[str, Any]) -> None:
    assert set(keys(dataclasses.replace(BASE, **change))).isdisjoint(keys())
    assert keys(dataclasses.replace(BASE, parameters=5)) == keys()


def test_every_parameter_of_every_method_that_changes_the_plan_changes_the_key() -> None:
    rope = RopeSpec(64, 10_000.0, 512, tuple(10_000.0 ** (-i / 32) for i in range(32)))
    others = {"beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.5, "truncate": False}
    yarn = extenders.base.load("yarn")
    signatures = {
        plan_signature(Method("a", yarn(target_length=4096, **{k: v})), rope, 4096) for k, v in others.items()
    }
    signatures.add(plan_signature(Method("a", yarn(target_length=4096)), rope, 4096))
    assert len(signatures) == len(others) + 1


def test_a_version_is_in_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    for name, value in (("version", 2), ("new_tokens", 9), ("unit", "nats")):
        with monkeypatch.context() as changed:
            changed.setattr(Count, name, value)
            assert set(keys()).isdisjoint(before)
    assert keys() == before


def test_a_key_stays_what_it_is() -> None:
    """A golden: this key may change only together with FORMAT, because a new key throws finished work away."""
    identity = {"weights": "w" * 16, "plan": "p" * 16, "length": 128, "seed": 0, "samples": 4, "task": {"name": "a"}}
    from harness.store import key_of

    assert key_of(identity) == "2575b530d553c5111d3d95e3"


def test_methods_with_equal_plans_share_cells_up_to_where_they_part() -> None:
    dynamic = Method("dynamic", extenders.base.load("dynamic_ntk")(target_length=256))
    cells = cells_of(experiment(methods=(*methods("none"), dynamic), seeds=(0,)), BASE)
    by = {(cell.method.label, cell.length): cell.key for cell in cells}
    assert by["none", 64] == by["dynamic", 64]  # within the trained 64 tokens both run as trained
    assert by["none", 128] != by["dynamic", 128]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step(Extender):
    """As trained up to a length, interpolated beyond it."""

    at: int

    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return RopePlan.as_trained(rope) if length <= self.at else RopePlan.rescaled(rope, [2.0] * len(rope.inv_freq))


@pytest.mark.parametrize("at", [1, 63, 64, 65, 100, 255])
def test_a_plan_that_varies_is_seen_to_vary(at: int) -> None:
    assert plan_signature(Method("step", Step(target_length=256, at=at)), ROPE, 256).startswith("varies-")
    assert not plan_signature(Method("step", Step(target_length=256, at=256)), ROPE, 256).startswith("varies-")


def test_the_source_of_a_plan_that_varies_is_in_its_key(tmp_path: Path) -> None:
    source = Path(str(extenders.base.load("dynamic_ntk").__module__.replace(".", "/") + ".py"))
    text = (Path(__file__).resolve().parent.parent / source).read_text()
    (tmp_path / "mine.py").write_text(text)
    first = plan_signature(Method("a", extenders.base.load("mine", [tmp_path])(target_length=256)), ROPE, 256)
    (tmp_path / "mine.py").write_text(text + "\n# another comment\n")
    second = plan_signature(Method("a", extenders.base.load("mine", [tmp_path])(target_length=256)), ROPE, 256)
    assert first != second
    within = [plan_signature(Method("a", extenders.base.load("mine", [tmp_path])(target_length=256)), ROPE, 64)]
    assert within == [RopePlan.as_trained(ROPE).hash]  # static there, so the comment does not count


VARYING = {
    "dynamic_ntk": {},
    "factors": {"factors": [1.0, 2.0, 3.0, 4.0]},
    "longrope": {"factors": [1.0, 2.0, 3.0, 4.0]},
    "longrope2": {"factors": [1.0, 2.0, 3.0, 4.0]},
}


def signature(extender: Extender) -> str:
    return plan_signature(Method("a", extender), ROPE, 256)


def code_keys(name: str) -> dict[str, str]:
    """All keys that a shipped method's code may be in: plan, plan after either kind of training, search."""
    cls = extenders.base.load(name)
    extender = cls(target_length=256, **VARYING[name])
    keys = {"plan": signature(extender)}
    for wrapper in (OriginalInside, PlannedInside):
        keys[wrapper.__name__] = signature(wrapper(target_length=256, inner=extender))
    if issubclass(cls, SearchedExtender):
        [search] = searching.planned([Method("a", cls(target_length=256))], BASE)
        keys["search"] = search.key
    return keys


@pytest.mark.parametrize("name", VARYING)
def test_a_comment_in_a_shipped_file_moves_no_key_and_a_version_moves_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_keys(name)
    assert before["plan"].startswith("varies-")
    with monkeypatch.context() as changed:  # as if every file of a class had one comment more

        def commented(cls: type) -> str:
            source = tmp_path / f"{cls.__name__}.py"
            source.write_text("# a comment\n")
            return str(source)

        changed.setattr(inspect, "getsourcefile", commented)
        assert code_keys(name) == before
    with monkeypatch.context() as changed:
        changed.setattr(extenders.base.load(name), "version", 2)
        after = code_keys(name)
    moved = {place for place, key in after.items() if key != before[place]}
    static = set() if name == "dynamic_ntk" else {"PlannedInside"}  # one plan: no code counts
    assert moved == set(before) - static
    assert code_keys(name) == before


def test_the_versions_of_the_methods_of_a_composite_are_in_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = extenders.base.load("composite")
    composite = cls(target_length=256, first="abf base_factor=8", then="dynamic_ntk", length=128)
    trained = OriginalInside(target_length=256, inner=composite)
    before = [signature(composite), signature(trained)]
    assert all(key.startswith("varies-") for key in before)
    for name in ("abf", "dynamic_ntk", "composite"):
        with monkeypatch.context() as changed:
            changed.setattr(extenders.base.load(name), "version", 2)
            assert set(before).isdisjoint([signature(composite), signature(trained)])
    assert before == [signature(composite), signature(trained)]


def test_a_version_of_a_static_plan_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    monkeypatch.setattr(type(methods("pi")[0].extender), "version", 2)
    assert keys() == before


def test_how_numbers_were_searched_is_not_in_a_key_of_a_trained_method() -> None:
    for wrapper in (OriginalInside, PlannedInside):
        signatures = set()
        for seed in (0, 1):
            cls = extenders.base.load("longrope")
            inner = cls(target_length=256, factors=[1.0, 2.0, 3.0, 4.0], recovery_lengths=(128,),
                        recovery_factors=[[1.0, 1.0, 2.0, 2.0]], search_seed=seed)  # fmt: skip
            signatures.add(signature(wrapper(target_length=256, inner=inner)))
        assert len(signatures) == 1 and signatures.pop().startswith("varies-")


USERS = """
from dataclasses import dataclass
from extenders.base import Extender, RopePlan, RopeSpec
{imports}

@dataclass(frozen=True, kw_only=True)
class Mine(Extender):
    def plan(self, rope: RopeSpec, length: int) -> RopePlan:
        return RopePlan.rescaled(rope, [1.0 + length] * len(rope.inv_freq))
"""


def test_a_users_file_counts_with_the_modules_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "beside_mine.py").write_text("import further_mine\n")
    (tmp_path / "further_mine.py").write_text("import beside_mine\n")
    (tmp_path / "unrelated.py").write_text("this is no Python")

    def mine(imports: str) -> str:
        (tmp_path / "mine.py").write_text(USERS.format(imports=imports))
        return signature(extenders.base.load("mine", [tmp_path])(target_length=256))

    alone, both = mine(""), mine("import beside_mine, json")
    assert alone != both == mine("import beside_mine, json")
    assert alone != mine("# a comment")
    (tmp_path / "unrelated.py").write_text("this is none either")
    assert mine("import beside_mine, json") == both
    (tmp_path / "further_mine.py").write_text("import beside_mine\n\n")
    assert mine("import beside_mine, json") != both and mine("") == alone


def test_a_method_in_no_file_has_no_key() -> None:
    typed: dict[str, Any] = {"__name__": "typed"}
    exec(USERS.format(imports=""), typed)
    with pytest.raises(ValueError, match=r"the method Mine stands in no file, .*; write it into a \.py file"):
        signature(typed["Mine"](target_length=256))


def test_probes_stand_at_the_edges() -> None:
    found = probes(4096, 512)
    assert {1, 511, 512, 513, 4096} <= set(found) and 50 <= len(found) <= 70 and found == sorted(set(found))
    assert probes(1, 512) == [1]


def test_short_context_tests_run_in_the_trained_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Count, "lengths", "window")
    assert {cell.length for cell in cells_of(experiment(), BASE)} == {64}
    own = (Test("count", Count(), 4, (32,)),)
    assert {cell.length for cell in cells_of(experiment(tests=own), BASE)} == {32}


def test_short_context_prompts_may_be_longer_than_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a method that changes beyond the window shares no short-context cell with one that does not."""
    monkeypatch.setattr(Count, "lengths", "window")
    dynamic = Method("dynamic", extenders.base.load("dynamic_ntk")(target_length=256))
    none, other = cells_of(experiment(methods=(*methods("none"), dynamic), seeds=(0,)), BASE)
    assert none.length == other.length == 64 and none.key != other.key


def test_a_folder_of_texts_counts_by_its_content(tmp_path: Path) -> None:
    import tasks.base

    def identity(folder: Path) -> Any:
        return task_identity(tasks.base.make("perplexity", folder=str(folder)))["parameters"]["folder"]

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text.txt").write_text("the same")
    assert identity(tmp_path / "a") == identity(tmp_path / "b") != identity(tmp_path)
    (tmp_path / "b" / "text.txt").write_text("another")
    assert identity(tmp_path / "a") != identity(tmp_path / "b")


def test_a_folder_below_the_home_folder_counts_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "text.txt").write_text("one")
    first = content_of("folder", "~/texts")
    assert first == content_of("folder", str(tmp_path / "texts"))
    (tmp_path / "texts" / "text.txt").write_text("another")
    assert content_of("folder", "~/texts") != first
    assert content_of("folder", "~/none") == "~/none" and content_of("folder", "~nobody-here/a") == "~nobody-here/a"


def test_refusals() -> None:
    with pytest.raises(ValueError, match="target_length 64 must be above the 64 tokens"):
        keys(target_length=64, lengths=(64,))

    class Broken(Extender):
        def plan(self, rope: RopeSpec, length: int) -> RopePlan:
            return RopePlan((1.0,))

    class Raises(Extender):
        def plan(self, rope: RopeSpec, length: int) -> RopePlan:
            raise KeyError("beta")

    with pytest.raises(ValueError, match="extender 'b' plans 1 pairs and this model has 4"):
        keys(methods=(Method("b", Broken(target_length=256)),))
    with pytest.raises(ValueError, match="extender 'b' has no plan for 1 tokens: KeyError: 'beta'"):
        keys(methods=(Method("b", Raises(target_length=256)),))
    with pytest.raises(ValueError, match="got object"):
        plain({"a": [object()]})
