"""What does an experiment file ask for? Every key is known, every required key present, every mistake one line.

    model: pocket-llama            a shipped model, a local folder (also one beside this file), or a hub name
    target_length: 4096            tokens; what every method is asked to reach
    lengths: [512, 1024, 4096]     tokens; where the tests are run
    extenders: [none, {yarn: {beta_fast: 32}}, {pi: {label: PI}}, ideas/mine.py]      a path is relative to this file
    tests: [needle, {perplexity: {samples: 4, lengths: [4096]}}]

Optional: name, samples (20, or as many as the test is known by), seeds ([0]), dtype and attention (auto),
trained_length, extender_folders; crossing (fixed), which says what happens where a generation crosses the trained
window; adaptive (harness/experiment/adaptive.py); and what every method is trained with:

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
from harness.experiment.adaptive import Adaptive, parse_adaptive, whole_note
from harness.experiment.fields import Fields
from harness.experiment.naming import label_of, load_method, user_folders, users_file
from harness.experiment.trainings import Training, parse_trainings
from harness.model.files import shipped_models
from harness.model.options import ATTENTION, DTYPES
from tasks.answers import PromptTask
from tasks.base import Task

Made = TypeVar("Made")
Code = Callable[[Path], None]  # is told of a user's file before its code runs

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
    "chat",
    "new_tokens",
    "adaptive",
)
DEFAULT_SAMPLES = 20
CROSSING = ("fixed", "recompute")  # the plan of prompt plus new tokens from the start, or a new cache at the window
CHAT = ("none", "model")  # prompts as they are, or as the user's turn in the model's own template
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
    new_tokens: int | None = None  # budget of an answer; None: the test's own


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
    chat: str = "none"
    adaptive: Adaptive | None = None  # cells stop where they are decided; None: every cell takes all its samples
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


def named_method(where: str, name: str | type[Extender], given: Mapping[str, Any], target_length: int) -> Method:
    """A method as a command names it, or its class, with what the user gave for its parameters.

    Raises ValueError, one line.
    """
    if isinstance(name, type):
        if not issubclass(name, Extender):
            raise ValueError(f"{where}: {name.__name__} is no method; a method's class is made from Extender")
        cls, label = name, name.__name__
    else:
        cls, label = load_method(where, name, user_folders()), label_of(name)
    return Method(label, parameters.make(label, cls, given, {"target_length": target_length}))


def read(path: Path, overrides: Mapping[str, Any] | None = None, code: Code = lambda file: None) -> Experiment:
    """The experiment of a file, with top-level keys replaced by `overrides`. Raises ValueError, one line.

    `code` is told of each method that is a file of a user before its code runs, and may refuse it.
    """
    content = strict_yaml.read(Path(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: an experiment is a list of 'key: value' lines, got {type(content).__name__}")
    return parse({**content, **(overrides or {})}, str(path), Path(path).resolve().parent, Path(path).stem, code)


def parse(
    content: Mapping[str, Any],
    where: str,
    folder: Path,
    name: str = "experiment",
    code: Code = lambda file: None,
) -> Experiment:
    """The experiment of a parsed file. `where` starts every error line, `folder` is what paths are relative to."""
    try:
        return _parse(content, where, folder, name, code)
    except (ValueError, OSError):
        raise
    except Exception as error:  # a value that nobody thought of is no reason for a traceback
        raise ValueError(f"{where}: cannot be read as an experiment ({type(error).__name__}: {error})") from error


def _parse(content: Mapping[str, Any], where: str, folder: Path, name: str, code: Code) -> Experiment:
    parameters.check_keys(where, content, (*REQUIRED, *OPTIONAL))
    missing = [key for key in REQUIRED if content.get(key) is None]
    if missing:
        raise ValueError(f"{where}: key {missing[0]!r} is missing; an experiment needs {', '.join(REQUIRED)}")
    fields = Fields(where, content)
    model = fields.text("model")
    target = fields.whole("target_length", 2)
    lengths = fields.lengths("lengths", target)
    seeds = fields.numbers("seeds", 0) if "seeds" in fields else (0,)
    trained_length = _trained_length(fields, target)
    methods, notes = _with_reference(tuple(_methods(fields, target, folder, code)), target)
    tests = tuple(_tests(fields, target, folder))
    if "training" not in fields:
        notes += _seeds_without_use(tests, seeds)
    trainings = _trainings(fields, folder)
    adaptive = None
    if content.get("adaptive") is not None:
        by_label = {test.label: test.task for test in tests}
        adaptive = parse_adaptive(content, where, [method.label for method in methods], by_label)
        notes += whole_note(by_label)
    return Experiment(
        name=fields.file_name("name", name),
        model=model,
        target_length=target,
        lengths=lengths,
        methods=methods,
        tests=tests,
        seeds=seeds,
        dtype=fields.choice("dtype", DTYPES, "auto"),
        attention=fields.choice("attention", ("auto", *ATTENTION), "auto"),
        trained_length=trained_length,
        trainings=trainings,
        crossing=fields.choice("crossing", CROSSING, "fixed"),
        chat=fields.choice("chat", CHAT, "none"),
        adaptive=adaptive,
        folder=folder,
        notes=notes,
    )


def _trained_length(fields: Fields, target: int) -> int | None:
    if fields.content.get("trained_length") is None:
        return None
    trained = fields.whole("trained_length", 1)
    if trained >= target:
        raise ValueError(
            f"{fields.where}: target_length {target} must be above trained_length {trained}; nothing to extend"
        )
    return trained


def _methods(fields: Fields, target: int, folder: Path, code: Code) -> Iterator[Method]:
    folders = user_folders(folder, fields.texts("extender_folders"))
    labels: set[str] = set()
    for name, given in fields.entries("extenders"):
        label = given.text("label", label_of(name))
        _new_label(f"{fields.where}: extenders: two methods are", label, labels)
        if (file := users_file(f"{fields.where}: extenders", name, folders, folders[0])) is not None:
            code(file)
        cls = load_method(f"{fields.where}: extenders", name, folders, folders[0])
        settings = _parameters(given, ("label",), folders[0])
        yield Method(label, parameters.make(given.where, cls, settings, {"target_length": target}))


def _with_reference(methods: tuple[Method, ...], target: int) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """The methods with the unextended model among them, and a note where it had to be added."""
    if any(method.extender.name == "none" for method in methods):
        return methods, ()
    label = "none"
    while label in [method.label for method in methods]:
        label += " (as trained)"
    none = Method(label, parameters.make("none", extenders.base.load("none"), {}, {"target_length": target}))
    return (none, *methods), ("added the extender 'none': retention is measured against the model as trained",)


def _tests(fields: Fields, target: int, folder: Path) -> Iterator[Test]:
    samples = fields.whole("samples", 1) if "samples" in fields else None
    room = fields.whole("new_tokens", 1) if "new_tokens" in fields else None
    chat = fields.choice("chat", CHAT, "none") == "model"
    labels: set[str] = set()
    for name, given in fields.entries("tests"):
        test_samples = given.whole("samples", 1) if "samples" in given else samples
        lengths = None if given.content.get("lengths") is None else given.lengths("lengths", target)
        rows = _located(f"{fields.where}: tests", tasks.base.expand, name)
        own_room = given.whole("new_tokens", 1) if "new_tokens" in given else None
        settings = _parameters(given, ("label", "samples", "lengths", "new_tokens"), folder)
        labelled = given.content.get("label") is not None
        if labelled and len(rows) != 1:
            raise ValueError(f"{given.where}: a label needs a single test, and {name!r} stands for {len(rows)}")
        for row in rows:
            task = _located(given.where, tasks.base.make, row, **settings)
            label = given.text("label") if labelled else _in_chat(task.title or row, chat)
            _new_label(f"{fields.where}: tests: two tests are", label, labels)
            if task.missing:  # now, and not after an hour of other tests
                raise ValueError(f"{given.where}: {task.missing}")
            asked = _budget(given.where, task, own_room, room, chat)
            yield Test(label, task, test_samples or task.default_samples or DEFAULT_SAMPLES, lengths, asked)


def _in_chat(name: str, chat: bool) -> str:
    """A row of RULER in a chat template is none of the 13, and its name says so."""
    profile, slash, row = name.partition("/")
    return f"{profile}+chat/{row}" if chat and slash and profile.startswith("ruler-") else name


def _budget(where: str, task: Task, own: int | None, shared: int | None, chat: bool) -> int | None:
    """The new tokens of an answer where the file says how many; of a test that asks for answers."""
    answers = isinstance(task, PromptTask) and task.new_tokens > 0
    if own is not None and not answers:
        raise ValueError(f"{where}: {task.name} has no answers with a budget of new tokens")
    budget = own if own is not None else shared if answers else None
    if budget is not None and budget < task.new_tokens:
        if own is None:
            return None  # the shared budget is for tests that ask for less
        raise ValueError(
            f"{where}: new_tokens must be at least the {task.new_tokens} that {task.name} asks for, got {own}"
        )
    if chat and getattr(task, "template", "base") != "base":
        raise ValueError(f"{where}: {task.name} has a template of its own; take it or chat: model, not both")
    return budget


def _seeds_without_use(tests: Sequence[Test], seeds: Sequence[int]) -> tuple[str, ...]:
    """A note where more seeds ask the same questions again."""
    labels = ", ".join(test.label for test in tests if not test.task.seeded)
    if not labels or len(seeds) < 2:
        return ()
    return (f"{labels}: the seed draws no questions, so more seeds give nothing new; run with {seeds[0]} only",)


def _trainings(fields: Fields, folder: Path) -> tuple[Training | None, ...]:
    content = fields.content
    if "training" in fields:
        pocket = content["model"] in shipped_models()
        shared = content.get("training_settings")
        return parse_trainings(f"{fields.where}: training", content["training"], shared, folder, pocket)
    if "training_settings" in fields:
        raise ValueError(
            f"{fields.where}: training_settings says how to train, but there is no training; list recipes there"
        )
    return ()


def _parameters(given: Fields, taken: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """What is left for the method or test itself. A parameter that names something beside the experiment file means
    that, wherever the run is started."""
    settings = {name: value for name, value in given.content.items() if name not in taken}
    for name, value in settings.items():
        if isinstance(value, str) and (name in PATHS or Path(value).suffix) and (folder / value).exists():
            settings[name] = str(folder / value)
    return settings


def _new_label(what: str, label: str, labels: set[str]) -> None:
    if label in labels:
        raise ValueError(f"{what} labelled {label!r}; give one of them another 'label'")
    labels.add(label)


def _located(where: str, make: Callable[..., Made], name: str, **given: Any) -> Made:
    """What `make` gives; its errors say where in the file."""
    try:
        return make(name, **given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
