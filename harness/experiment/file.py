"""Experiment file → Experiment, strictly: every key is known, every required key present, every mistake one line.

    model: pocket-llama            a shipped model, a local folder (also one beside this file), or a hub name
    target_length: 4096            tokens; what every method is asked to reach
    lengths: [512, 1024, 4096]     tokens; where the tests are run
    extenders: [none, {yarn: {beta_fast: 32}}, {pi: {label: PI}}, ideas/mine.py]      a path is relative to this file
    tests: [needle, {perplexity: {samples: 4, lengths: [4096]}}]

Optional: name, samples (20, or as many as the test is known by), seeds ([0]), dtype and attention (auto),
trained_length, extender_folders; crossing (fixed), which says what happens where a generation crosses the trained
window; and what every method is trained with:

    training: [none, plain, {mixed: {learning_rate: 5e-4}}]
    training_settings: {tokens: 500000, corpus: pocket}
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import extenders.base
import tasks.base
from extenders.base import Extender
from harness.experiment import parameters, strict_yaml
from harness.experiment.trainings import Training, parse_trainings
from harness.model.files import shipped_models
from harness.model.options import ATTENTION, DTYPES
from tasks.base import Task

Made = TypeVar("Made")

SHIPPED = Path(__file__).parent.parent / "experiments"
REQUIRED = ("model", "target_length", "lengths", "extenders", "tests")
OPTIONAL = (
    "name",
    "samples",
    "seeds",
    "dtype",
    "attention",
    "trained_length",
    "extender_folders",
    "training",
    "training_settings",
    "crossing",
)
DEFAULT_SAMPLES = 20
CROSSING = ("fixed", "recompute")  # the plan of prompt plus new tokens from the start, or a new cache at the window
PATHS = ("folder", "file", "documents")  # parameters that name files; their content counts, not their place


@dataclass(frozen=True)
class Method:
    """A method with all its parameters, under the label that tables show."""

    label: str
    extender: Extender
    training: Training | None = field(default=None, compare=False)  # what its weights are trained with


@dataclass(frozen=True)
class Test:
    """A test with all its parameters, how many samples it takes, and where it runs (None: where the rule says)."""

    __test__ = False  # keeps pytest from collecting it

    label: str
    task: Task
    samples: int
    lengths: tuple[int, ...] | None = None  # tokens


@dataclass(frozen=True)
class Experiment:
    name: str
    model: str  # as written
    target_length: int  # tokens
    lengths: tuple[int, ...]  # tokens, ascending
    methods: tuple[Method, ...]
    tests: tuple[Test, ...]
    seeds: tuple[int, ...] = (0,)
    dtype: str = "auto"
    attention: str = "auto"
    trained_length: int | None = None  # tokens; None: what the model's configuration says
    folder: Path = Path()  # of the experiment file
    trainings: tuple[Training | None, ...] = ()  # every method is given each; None: no training
    crossing: str = "fixed"
    notes: tuple[str, ...] = ()  # what was added without being asked, in words for the user

    @property
    def model_source(self) -> str:
        """The model as the loader wants it: a folder beside the experiment file wins over a shipped or hub name."""
        beside = self.folder / self.model
        is_model = (beside / "config.json").is_file() or (beside.suffix == ".gguf" and beside.is_file())
        return str(beside) if is_model else self.model


def shipped() -> dict[str, Path]:
    """The experiments inside the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def find(name: str) -> Path:
    """The file of an experiment given as a path or as the name of a shipped one."""
    if Path(name).is_file():
        return Path(name)
    if name in shipped():
        return shipped()[name]
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        raise ValueError(f"there is no experiment file {name}")
    raise ValueError(f"no experiment is named {name!r}; {parameters.hint(name, shipped())}")


def user_folders(folder: Path | None = None, listed: tuple[str, ...] = ()) -> list[Path]:
    """Where methods outside the package are looked up: beside the file, the listed folders, $ROPEBENCH_EXTENDERS."""
    beside = [] if folder is None else [folder, *(folder / one for one in listed)]
    named = [Path(one) for one in os.environ.get("ROPEBENCH_EXTENDERS", "").split(os.pathsep) if one]
    return list(dict.fromkeys(path.resolve() for path in beside + named))


def load_method(where: str, name: object, folders: Sequence[Path] = (), beside: Path = Path()) -> type[Extender]:
    """A method's class, by the one rule for naming a method: a name, or a path that ends in `.py`.

    Names are those of the package and of the files in `folders`; a path is relative to the folder `beside`. Raises
    ValueError for an unknown name, a path that leads to no file, and a file that does not define one method.
    """
    if isinstance(name, str) and name.endswith(".py"):
        return _method_of_file(where, beside / Path(name).expanduser())
    known = extenders.base.names(folders)
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{where}: no extender is named {name!r}; {parameters.hint(name, known)}")
    return extenders.base.load(name, folders)


def label_of(name: str) -> str:
    """What tables call a method that a user named so: its name, or the stem of its file."""
    return Path(name).stem if name.endswith(".py") else name


def named_method(where: str, name: str, given: Mapping[str, Any], target_length: int) -> "Method":
    """A method as a command names it, with what the user gave for its parameters. Raises ValueError, one line."""
    cls, label = load_method(where, name, user_folders()), label_of(name)
    return Method(label, parameters.make(label, cls, given, {"target_length": target_length}))


def _method_of_file(where: str, path: Path) -> type[Extender]:
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"{where}: the file of a method {path} {reason}; give a .py file, or a name without .py")
    if not path.stem.isidentifier() or path.stem.startswith("_"):
        raise ValueError(
            f"{where}: {path} cannot name a method; name the file with letters, digits and _, a letter first"
        )
    return extenders.base.load(path.stem, [path.parent])


def read(path: Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a file, with top-level keys replaced by `overrides`. Raises ValueError, one line."""
    content = strict_yaml.read(Path(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: an experiment is a list of 'key: value' lines, got {type(content).__name__}")
    return parse({**content, **(overrides or {})}, str(path), Path(path).resolve().parent, Path(path).stem)


def parse(content: Mapping[str, Any], where: str, folder: Path, name: str = "experiment") -> Experiment:
    """The experiment of a parsed file. `where` starts every error line, `folder` is what paths are relative to."""
    parameters.check_keys(where, content, (*REQUIRED, *OPTIONAL))
    missing = [key for key in REQUIRED if content.get(key) is None]
    if missing:
        raise ValueError(f"{where}: key {missing[0]!r} is missing; an experiment needs {', '.join(REQUIRED)}")
    target = _whole(f"{where}: target_length", content["target_length"], 2)
    lengths = _lengths(f"{where}: lengths", content["lengths"], target)
    samples = _whole(f"{where}: samples", content["samples"], 1) if "samples" in content else None
    seeds = _several(f"{where}: seeds", content.get("seeds", [0]), 0)
    trained = content.get("trained_length")
    if trained is not None and _whole(f"{where}: trained_length", trained, 1) >= target:
        raise ValueError(f"{where}: target_length {target} must be above trained_length {trained}; nothing to extend")
    folders = user_folders(folder, tuple(_texts(f"{where}: extender_folders", content.get("extender_folders", []))))
    methods = tuple(_methods(f"{where}: extenders", content["extenders"], target, folders))
    notes: tuple[str, ...] = ()
    if not any(method.extender.name == "none" for method in methods):
        none = parameters.make("none", extenders.base.load("none"), {}, {"target_length": target})
        methods = (Method(_free("none", [m.label for m in methods]), none), *methods)
        notes = ("added the extender 'none': retention is measured against the model as trained",)
    tests = tuple(_tests(f"{where}: tests", content["tests"], samples, target, folder))
    once = [test.label for test in tests if not test.task.seeded]
    if once and len(seeds) > 1 and "training" not in content:
        notes += (
            f"{', '.join(once)}: the seed draws no questions, so more seeds give nothing new; run with {seeds[0]} only",
        )
    trainings: tuple[Training | None, ...] = ()
    if "training" in content:
        shared = content.get("training_settings")
        pocket = content["model"] in shipped_models()
        trainings = parse_trainings(f"{where}: training", content["training"], shared, folder, pocket)
    elif "training_settings" in content:
        raise ValueError(f"{where}: training_settings says how to train, but there is no training; list recipes there")
    return Experiment(
        name=_file_name(f"{where}: name", content.get("name", name)),
        model=_text(f"{where}: model", content["model"]),
        target_length=target,
        lengths=lengths,
        methods=methods,
        tests=tests,
        seeds=seeds,
        dtype=_choice(f"{where}: dtype", content.get("dtype", "auto"), DTYPES),
        attention=_choice(f"{where}: attention", content.get("attention", "auto"), ("auto", *ATTENTION)),
        trained_length=trained,
        trainings=trainings,
        crossing=_choice(f"{where}: crossing", content.get("crossing", "fixed"), CROSSING),
        folder=folder,
        notes=notes,
    )


def _methods(where: str, listed: Any, target: int, folders: list[Path]) -> Iterator[Method]:
    labels: list[str] = []
    for name, given in _entries(where, listed):
        given = dict(given)
        label = _text(f"{where}: {name}: label", given.pop("label", label_of(name)))
        if label in labels:
            raise ValueError(f"{where}: two methods are labelled {label!r}; give one of them another 'label'")
        labels.append(label)
        cls = load_method(where, name, folders, folders[0])
        given = {key: _beside(key, value, folders[0]) for key, value in given.items()}
        yield Method(label, parameters.make(f"{where}: {name}", cls, given, {"target_length": target}))


def _beside(key: str, value: Any, folder: Path) -> Any:
    """A parameter that names something beside the experiment file means that, wherever the run is started."""
    if isinstance(value, str) and (key in PATHS or Path(value).suffix) and (folder / value).exists():
        return str(folder / value)
    return value


def _tests(where: str, listed: Any, samples: int | None, target: int, folder: Path) -> Iterator[Test]:
    labels: list[str] = []
    for name, given in _entries(where, listed):
        given = dict(given)
        here = f"{where}: {name}"
        own_samples = _whole(f"{here}: samples", given.pop("samples"), 1) if "samples" in given else samples
        own_lengths = given.pop("lengths", None)
        own_lengths = None if own_lengths is None else _lengths(f"{here}: lengths", own_lengths, target)
        given = {key: _beside(key, value, folder) for key, value in given.items()}
        rows = _named(where, tasks.base.expand, name)
        own_label = given.pop("label", None)
        if own_label is not None and len(rows) != 1:
            raise ValueError(f"{here}: a label needs a single test, and {name!r} stands for {len(rows)}")
        for row in rows:
            label = row if own_label is None else _text(f"{here}: label", own_label)
            if label in labels:
                raise ValueError(f"{where}: two tests are labelled {label!r}; give one of them another 'label'")
            labels.append(label)
            task = _named(here, tasks.base.make, row, **given)
            if task.missing:  # now, and not after an hour of other tests
                raise ValueError(f"{here}: {task.missing}")
            yield Test(label, task, own_samples or task.default_samples or DEFAULT_SAMPLES, own_lengths)


def _entries(where: str, listed: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names with parameters, from a list of `name` and `{name: {parameter: value}}`."""
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{where} must be a list with at least one name, got {listed!r}")
    for entry in listed:
        if isinstance(entry, str):
            yield entry, {}
        elif isinstance(entry, dict) and len(entry) == 1 and isinstance(next(iter(entry)), str):
            name, given = next(iter(entry.items()))
            if given is not None and not isinstance(given, dict):
                raise ValueError(f"{where}: {name} wants parameters as {{name: value}}, got {given!r}")
            yield name, given or {}
        else:
            raise ValueError(f"{where}: an entry is a name or {{name: {{parameter: value}}}}, got {entry!r}")


def _named(where: str, make: Callable[..., Made], name: str, **given: Any) -> Made:
    """What `make` gives; its errors say where in the file."""
    try:
        return make(name, **given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


def _free(label: str, taken: list[str]) -> str:
    return label if label not in taken else _free(f"{label} (as trained)", taken)


def _whole(where: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where} must be a whole number of at least {least}, got {value!r}")
    return value


def _several(where: str, value: Any, least: int) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    numbers = [_whole(where, one, least) for one in values]
    if not numbers:
        raise ValueError(f"{where} must name at least one number")
    twice = [one for one in numbers if numbers.count(one) > 1]
    if twice:
        raise ValueError(f"{where} names {twice[0]} twice")
    return tuple(numbers)


def _lengths(where: str, value: Any, target: int) -> tuple[int, ...]:
    lengths = tuple(sorted(_several(where, value, 1)))
    if lengths[-1] > target:
        raise ValueError(
            f"{where} goes up to {lengths[-1]} tokens, beyond the target_length {target}; raise the target"
        )
    return lengths


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where} must be a text, got {value!r}")
    return value


def _texts(where: str, value: Any) -> list[str]:
    return [_text(where, one) for one in (value if isinstance(value, list) else [value])]


def _file_name(where: str, value: Any) -> str:
    name = _text(where, value)
    if any(sign in name for sign in '/\\:\0"') or name.startswith("."):
        raise ValueError(f"{where} names a folder of results and so holds no / \\ : and no leading dot, got {name!r}")
    return name


def _choice(where: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{where} is {value!r}; {parameters.hint(value, allowed)}")
    return str(value)
