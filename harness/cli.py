"""The command line. Nothing heavy is imported before a command needs it, so --help answers at once.

Exit codes: 0 done, 1 some cells failed, 2 wrong input (one line says what), 130 stopped by Ctrl-C.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from harness.experiment import Experiment
    from harness.progress import Progress
    from harness.run import Outcome
    from harness.store import Store

app = typer.Typer(
    name="ropebench",
    help="Compare ways to extend the context window of a RoPE language model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_arguments: list[str] = []  # the command line at work, which helpers repeat
LISTS = ("extenders", "tests", "experiments", "models", "factors", "recipes")


@app.callback()
def common(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error came from.")] = False,
) -> None:
    if traceback:
        os.environ["ROPEBENCH_TRACEBACK"] = "1"


@app.command()
def run(
    experiment: Annotated[str, typer.Argument(help="A file, or the name of a shipped experiment.")] = "quick",
    out: Annotated[Path | None, typer.Option(help="Folder of the results; results/NAME unless given.")] = None,
    model: Annotated[str | None, typer.Option(help="Another model than the file's.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed instead of the file's; may be repeated.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE instead of the file's; repeatable.")
    ] = None,
    date: Annotated[str | None, typer.Option(help="The date that the report carries.")] = None,
    report: Annotated[bool, typer.Option(help="Write the report at the end.")] = True,
    cache: Annotated[bool, typer.Option(help="Keep the prompts for other runs.")] = True,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the work; one a core for shipped models on a CPU.")
    ] = None,
) -> None:
    """Run an experiment, or what is missing of it, and write the report."""
    from harness import experiment as experiments
    from harness.team import Relay

    overrides = _values(set_ or [], "--set")
    overrides |= {"model": _from_here(model)} if model else {}
    overrides |= {"seeds": list(seed)} if seed else {}
    plan = experiments.read(experiments.find(experiment), overrides)
    folder = out or Path("results") / plan.name
    shown = _shown()
    for note in plan.notes:
        shown.say(note)
    try:
        outcome = _compute(plan, folder, shown, cache, workers)
    except KeyboardInterrupt:
        shown.close()
        if isinstance(shown, Relay):
            raise typer.Exit(130) from None
        again = shlex.join(["ropebench", *_arguments])
        _fail(f"stopped; finished cells are kept in {folder}, and this goes on where it stopped: {again}", 130)
    for cell, reason in outcome.failed:
        shown.say(f"failed: {cell.words}: {reason}")
    for label, reason in outcome.unsearched:
        shown.say(f"not evaluated, because its search failed: {label}: {reason}")
    kept = outcome.total - outcome.computed
    words = f"{outcome.total} cells: {outcome.computed - len(outcome.failed)} computed, {kept} kept from before"
    shown.say(words + (f", {len(outcome.failed)} FAILED (run again to try them again)" if outcome.failed else ""))
    if report:
        _report(outcome.store, None, date)
    if outcome.failed or outcome.unsearched:
        raise typer.Exit(1)


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="A result store.")]) -> None:
    """What of a run is finished, failed or missing."""
    from harness.store import Store

    store = Store.open(folder)
    content = store.described()
    counts: dict[str, dict[str, int]] = {}
    failures: dict[str, list[str]] = {}
    for planned, cell in store.cells():
        state = "missing" if cell is None else str(cell["status"])
        counts.setdefault(planned["label"], {"done": 0, "failed": 0, "missing": 0})[state] += 1
        if cell is not None and state == "failed":
            where = f"{planned['label']} · {planned['task']} · {planned['length']} tokens · seed {planned['seed']}"
            failures.setdefault(str(cell["error"]), []).append(where)
    total = {state: sum(count[state] for count in counts.values()) for state in ("done", "failed", "missing")}
    print(f"{content['name']} on {content['model']['name']}, target {content['target_length']} tokens")
    rows = [[label, *map(str, count.values())] for label, count in counts.items()]
    _print_table(["method", "done", "failed", "missing"], [*rows, ["all", *map(str, total.values())]])
    for one in content.get("searches", []):
        found = store.search(one["key"])
        state = "missing; its cells are planned when it is done" if found is None else str(found["status"])
        reason = f": {found['error']}" if found is not None and found["error"] else ""
        print(_clean(f"search of {one['label']}: {state}{reason}"))
    for one in content.get("trainings", []):
        found = store.training(one["key"]) or {"status": "missing", "error": ""}
        reason = f": {found['error']}" if found["error"] else ""
        print(_clean(f"training of {one['method']}, seed {one['seed']}: {found['status']}{reason}"))
    for reason, places in failures.items():
        print(f"failed: {_clean(reason)}")
        for place in places:
            print(f"  {place}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A result store.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the report; the store's own unless given.")] = None,
    date: Annotated[str | None, typer.Option(help="The date that the report carries.")] = None,
) -> None:
    """Write the report of a result store."""
    from harness.store import Store

    _report(Store.open(folder), out, date)


@app.command()
def compare(
    base: Annotated[str, typer.Argument(help="A result store; with --preset also a method, or its file.")],
    candidate: Annotated[str, typer.Argument(help="The one that must not be worse.")],
    margin: Annotated[float | None, typer.Option(help="Largest drop let through, in points; 1 unless given.")] = None,
    preset: Annotated[str | None, typer.Option(help="ci: its margin; two methods are run at its size first.")] = None,
    base_label: Annotated[str | None, typer.Option(help="Method in the base; all methods unless given.")] = None,
    candidate_label: Annotated[str | None, typer.Option(help="Method in the candidate.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="A condition that may differ; repeatable.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML there.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a comment for a pull request there.")] = None,
    model: Annotated[str | None, typer.Option(help="Another model than the preset's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Results of the preset; results/PRESET-BASE-CANDIDATE.")] = None,
) -> None:
    """The gate: is a candidate as good as its base, up to a margin? 0 passed, 1 failed, 2 cannot compare."""
    from harness.compare import is_store, preset_experiment
    from harness.parameters import hint
    from reports import gate, gate_words

    if preset is not None and preset not in gate.PRESETS:
        raise ValueError(f"no preset is named {preset!r}; {hint(preset, list(gate.PRESETS))}")
    folders = Path(base), Path(candidate)
    if preset and not (is_store(base) or is_store(candidate)):
        plan = preset_experiment(preset, base, candidate, _from_here(model) if model else None)
        folders = (out or Path("results") / plan.name,) * 2
        base_label, candidate_label = (method.label for method in plan.methods)
        _run_quietly(plan, folders[0])
    allowed = gate.PRESETS[preset] if preset and margin is None else gate.MARGIN if margin is None else margin
    try:
        answer = gate.compare(*folders, allowed, base_label, candidate_label, allow or [])
    except gate.CannotCompare as refusal:
        gate_words.write(refusal, junit, markdown)
        raise
    gate_words.write(answer, junit, markdown)
    _print_table(gate_words.HEAD, gate_words.lines(answer))
    for note in answer.notes:
        print(_clean(f"note: {note}"))
    print(_clean(gate_words.summary(answer)))
    raise typer.Exit(answer.exit_code)


@app.command()
def preflight(
    extender: Annotated[str, typer.Argument(help="A method; see: ropebench list extenders.")],
    model: Annotated[str, typer.Option(help="Shipped model, local folder or hub name.")],
    target_length: Annotated[int, typer.Option(help="What the method is to reach, in tokens.")],
    parameter: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE of the method; repeatable.")] = None,
    trained_length: Annotated[int | None, typer.Option(help="Instead of the configuration's, in tokens.")] = None,
) -> None:
    """Check a plan on a model in about a minute, before GPU-days are spent on it. 0 good, 1 a check failed."""
    from harness.preflight import preflight as check

    given = _values(parameter or [], "-p")
    found = check(extender, given, _from_here(model), target_length, trained_length)
    _print_table(["tokens before", "unextended, nats", f"{extender}, nats"], found.rows)
    _print_table(["", "check", "found"], [["ok" if c.ok else "FAILED", c.name, c.found] for c in found.checks])
    for failed in found.failed:
        print(_clean(f"failed: {failed.name}: {failed.reason}"))
    raise typer.Exit(1 if found.failed else 0)


@app.command()
def published(
    out: Annotated[Path | None, typer.Option(help="Write to this Markdown file instead of printing.")] = None,
) -> None:
    """Published tables looked at again: a ranking that one task decides, ablations against their noise."""
    from harness.store import write_whole
    from reports.reanalysis import markdown

    if out is None:
        print(markdown(), end="")
    else:
        write_whole(out, markdown())


@app.command()
def plan(
    extender: Annotated[str, typer.Argument(help="A method; see: ropebench list extenders.")],
    model: Annotated[
        str, typer.Option(help="Shipped model, local folder or hub name; only its configuration is read.")
    ],
    target_length: Annotated[int, typer.Option(help="What the method is to reach, in tokens.")],
    length: Annotated[int | None, typer.Option(help="Prompt plus new tokens; the target length unless given.")] = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE of the method; repeatable.")] = None,
    trained_length: Annotated[int | None, typer.Option(help="Instead of the configuration's, in tokens.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="All numbers as JSON.")] = False,
) -> None:
    """Print the frequencies that a model would run with. Needs no weights."""
    import json

    from harness.plan import planned, table

    given = _values(parameter or [], "-p")
    content = planned(extender, given, model, target_length, length, trained_length)
    if json_:
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return
    head, rows = table(content)
    print(head)
    _print_table(["pair", "period trained", "period planned", "rescale factor"], rows)


@app.command()
def search(
    extender: Annotated[str, typer.Argument(help="longrope, longrope2, yarn_rcd, … or a file of yours.")],
    model: Annotated[str, typer.Option(help="Shipped model, local folder or hub name.")],
    target_length: Annotated[int, typer.Option(help="What the method is to reach, in tokens.")],
    budget: Annotated[
        int | None, typer.Option(help="In token-forwards; 100 prompts of the target length unless given.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Search seed; repeatable, one search each. 0.")] = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE of the method; repeatable.")] = None,
    documents: Annotated[str | None, typer.Option(help="Folder of .txt and .md files to search on.")] = None,
    fine_tune: Annotated[
        str | None, typer.Option(help="Recipe of the training that -p intermediate_length=N needs half-way.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of that training, as in train; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/searches"),
    trained_length: Annotated[int | None, typer.Option(help="Instead of the configuration's, in tokens.")] = None,
) -> None:
    """Search a method's numbers on a model; stopped, it goes on where it was."""
    from harness import search_command
    from harness.progress import progress

    given = _values(parameter or [], "-p")
    given |= {"budget": budget} if budget is not None else {}
    given |= {"documents": documents} if documents is not None else {}
    tuning = None if fine_tune is None else (fine_tune, _values(setting or [], "--set"))
    try:
        results = search_command.search(
            extender, given, model, target_length, out, progress(), seed or [0], trained_length, fine_tune=tuning
        )
    except KeyboardInterrupt:
        again = shlex.join(["ropebench", *_arguments])
        _fail(f"stopped; every measured loss is kept in {out}, and this goes on where it stopped: {again}", 130)
    for content in results:
        for line in search_command.table(content, out):
            print(_clean(line))


@app.command()
def generate(
    test: Annotated[list[str], typer.Argument(help="Tests or suites; see: ropebench list tests.")],
    length: Annotated[list[int], typer.Option(help="Prompt plus new tokens, in tokens; repeatable.")],
    model: Annotated[str, typer.Option(help="Shipped model, folder or hub name; only its tokenizer is read.")],
    out: Annotated[Path, typer.Option(help="Folder of the files.")],
    samples: Annotated[int, typer.Option(help="Of every test at every length.")] = 20,
    seed: Annotated[list[int] | None, typer.Option(help="0 unless given; repeatable.")] = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE of the tests; repeatable.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 decides by itself.")] = 0,
    cache: Annotated[bool, typer.Option(help="Keep the samples for the next time.")] = True,
) -> None:
    """Write tests as files: samples as JSONL, and lm-eval tasks that run and score them with any backend."""
    from harness.generate import command
    from harness.generate import generate as write

    given = _values(parameter or [], "-p")
    settings: dict[str, Any] = {"seeds": seed or [0], "parameters": given, "workers": workers, "cached": cache}
    made = write(test, out, model=model, lengths=length, samples=samples, **settings, say=_progress_line)
    whole = [one for one in made if one.file]
    how = [f"{one.seconds:.1f} s" if one.seconds else "from the cache" for one in whole]
    _print_table(["samples", "made in"], [[str(one.file), words] for one, words in zip(whole, how, strict=True)])
    if whole:
        print(f"run them with: {command(whole, out, model)}")
    if len(whole) < len(made):
        _fail(f"{len(made) - len(whole)} of {len(made)} could not be made", 1)


@app.command("search-study")
def search_study(
    model: Annotated[str, typer.Option(help="Shipped model, local folder or hub name.")],
    target_length: Annotated[int, typer.Option(help="What the methods are to reach, in tokens.")],
    forwards: Annotated[
        int, typer.Option(help="Budget of the official procedures, in prompts; 14080 is their full size.")
    ] = 1000,
    seed: Annotated[list[int] | None, typer.Option(help="Search seed; repeatable. 0 to 4.")] = None,
    texts: Annotated[int, typer.Option(help="Held-out texts that winners are compared on.")] = 64,
    samples: Annotated[int | None, typer.Option(help="Texts per candidate of the official procedures; 10.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="Only this row; repeatable.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/search-study"),
    trained_length: Annotated[int | None, typer.Option(help="Instead of the configuration's, in tokens.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
) -> None:
    """Compare search procedures on held-out needles; stopped, it goes on where it was."""
    from harness.progress import progress
    from harness.search_study import study
    from harness.search_table import markdown

    seeds = seed or [0, 1, 2, 3, 4]
    content = study(
        model, target_length, out, progress(), forwards, seeds, texts, samples, row or [], trained_length, dtype
    )
    print(_clean_lines(markdown(content)))


@app.command()
def export(
    extender: Annotated[str, typer.Argument(help="A method; see: ropebench list extenders.")],
    model: Annotated[
        str, typer.Option(help="Shipped model, local folder or hub name; only its configuration is read.")
    ],
    target_length: Annotated[int, typer.Option(help="What the method is to reach, in tokens.")],
    parameter: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE of the method; repeatable.")] = None,
    found: Annotated[Path | None, typer.Option(help="Result of a search of this method, a .json file.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; printed unless given.")] = None,
    trained_length: Annotated[int | None, typer.Option(help="Instead of the configuration's, in tokens.")] = None,
) -> None:
    """Write a plan as keys of a model's config.json (transformers' longrope form)."""
    import json

    from harness import export as exports

    given = _values(parameter or [], "-p")
    content, notes = exports.export(extender, given, model, target_length, trained_length, found)
    text = json.dumps(content, indent=1)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
        print(out)


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(help="extenders, tests, experiments, models, factors or recipes.")
    ] = "extenders",
) -> None:
    """What there is to choose from."""
    from harness import listing
    from harness.parameters import hint

    if what not in LISTS:
        raise ValueError(f"nothing is listed as {what!r}; {hint(what, LISTS)}")
    for name, summary, details in listing.ALL[what]():
        print(f"{name:<28} {_clean(summary)}".rstrip())
        for detail in details:
            print(f"    {_clean(detail)}")


@app.command()
def doctor() -> None:
    """What this machine has, and what each missing thing costs."""
    from harness.doctor import examine

    findings = examine()
    _print_table(["", "found", "what that costs"], [[one.what, one.found, one.cost or "-"] for one in findings])


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="prefill, or candidate (of a search, beside full logits).")] = "prefill",
    model: Annotated[str, typer.Option(help="Shipped model or local folder.")] = "pocket-llama",
    length: Annotated[list[int] | None, typer.Option(help="In tokens; repeatable. 512, 2048 and 8192.")] = None,
    extender: Annotated[str, typer.Option(help="The method whose plan is applied (prefill).")] = "yarn",
    pairs: Annotated[int, typer.Option(help="Timed pairs a length.")] = 5,
    shape: Annotated[str | None, typer.Option(help="Random weights instead (candidate): llama3-8b, …")] = None,
) -> None:
    """Time a prefill as loaded and under a plan, or a search's candidate beside full logits, in pairs."""
    lengths = length or [512, 2048, 8192]
    if what not in ("prefill", "candidate"):
        raise ValueError(f"bench measures prefill or candidate, got {what!r}")
    if shape is not None and what == "prefill":
        raise ValueError("--shape is for: ropebench bench candidate")
    if what == "candidate":
        from harness.bench_candidate import HEAD, bench_candidate, line, opened

        _print_table(HEAD, [line(one) for one in bench_candidate(*opened(model, shape), lengths, pairs)])
        return
    from harness.bench import bench as measure

    rows = []
    for one in measure(model, lengths, extender, pairs):
        ratio = f"{one.ratio:.3f} [{one.lowest:.3f}, {one.highest:.3f}]"
        rows.append([one.what, str(one.length), f"{one.plain_seconds:.3f}", f"{one.planned_seconds:.3f}", ratio])
    _print_table(["", "tokens", "as loaded, s", "under the plan, s", "ratio of pairs [range]"], rows)


@app.command()
def pretrain(
    name: Annotated[str, typer.Argument(help="pocket-llama or pocket-phi.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the model; models/NAME unless given.")] = None,
) -> None:
    """Make a shipped pocket model again, from nothing but this package; goes on where it stopped."""
    from harness.pocket.card import write_card
    from harness.pocket.pretrain import pretrain as make
    from harness.progress import training_progress

    folder = out or Path("models") / name
    with training_progress(name) as shown:
        make(name, folder, shown)
    write_card(folder, name)
    print(folder)


@app.command()
def train(
    extender: Annotated[str, typer.Argument(help="A method; see: ropebench list extenders.")],
    recipe: Annotated[str, typer.Option(help="See: ropebench list recipes.")],
    model: Annotated[str, typer.Option(help="Shipped model, local folder or hub name.")],
    target_length: Annotated[int, typer.Option(help="What the method is to reach, in tokens.")],
    tokens: Annotated[int, typer.Option(help="The budget; training stops before it would use more.")],
    seed: Annotated[int, typer.Option(help="Of the data's order and of everything drawn.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="SETTING=VALUE, as corpus, learning_rate, lora; repeatable.")
    ] = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE of the method; repeatable.")] = None,
    out: Annotated[Path, typer.Option(help="Result store that keeps weights and record.")] = Path("results/train"),
    save_model: Annotated[Path | None, typer.Option(help="Also write the whole trained model to this folder.")] = None,
    trained_length: Annotated[int | None, typer.Option(help="Instead of the configuration's, in tokens.")] = None,
) -> None:
    """Fine-tune a model under one method's plan; goes on where it stopped. Several GPUs: under torchrun."""
    from harness.train_command import train_alone

    settings = _values(set_ or [], "--set")
    if "tokens" in settings:
        raise ValueError("--set tokens: say it with --tokens")
    record = train_alone(
        extender, _values(parameter or [], "-p"), recipe, {**settings, "tokens": tokens}, model, target_length, out,
        seed=seed, save_model=save_model, trained_length=trained_length,
        say=lambda line: print(_clean(line), file=sys.stderr, flush=True),
    )  # fmt: skip
    if record["error"]:
        _fail(record["error"], 1)
    cost = record["cost"]
    print(f"{'kept from before' if record['kept'] else 'trained'}: {out}/trainings/{record['key']}")
    print(f"{cost['tokens']:,} tokens in {cost['seconds']:.0f} s, {len(record['curve'])} steps")
    for point in (record["curve"][0], record["curve"][-1]):
        losses = ", ".join(f"{kind} {loss:.3f}" for kind, loss in point["loss"].items())
        print(f"step {point['step']}: {losses} nats per token")


@app.command()
def card(
    folder: Annotated[Path, typer.Argument(help="Folder of a pocket model.")],
    name: Annotated[str, typer.Option(help="Whose recipe made it.")],
    scores: Annotated[Path | None, typer.Option(help="A result store of: ropebench run pocket-card.")] = None,
) -> None:
    """Write the model card of a pocket model."""
    from harness.pocket.card import write_card
    from harness.store import Store

    print(write_card(folder, name, Store.open(scores) if scores else None))


def _run_quietly(plan: "Experiment", folder: Path) -> None:
    """Compute what the store misses. Raises ValueError when a cell failed."""
    outcome = _compute(plan, folder, _shown())
    if outcome.failed:
        cell, reason = outcome.failed[0]
        raise ValueError(f"{len(outcome.failed)} cells failed, first {cell.words}: {reason}")


def _shown() -> "Progress":
    """The progress of this process; a helper's goes to the process that started it."""
    from harness.progress import progress
    from harness.team import SESSION, Relay

    return Relay() if SESSION in os.environ else progress()


def _compute(
    plan: "Experiment", folder: Path, shown: "Progress", cache: bool = True, workers: int | None = None
) -> "Outcome":
    """Compute what the store misses, with helpers where that pays. A helper ends here."""
    from harness.engine import LocalEngine
    from harness.run import run as run_cells
    from harness.team import team_for

    team = team_for(plan.model, workers, [sys.executable, "-m", "harness.cli", *_arguments])
    outcome = run_cells(plan, folder, LocalEngine(plan, shown, team.threads), shown, cache, team)
    if not team.first:
        raise typer.Exit(0)
    return outcome


def _report(store: "Store", out: Path | None, date: str | None) -> None:
    from reports.page import write_report

    print(write_report(store, out, date))


def _from_here(model: str) -> str:
    """A folder named on the command line is relative to the working folder, not to the experiment file."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _values(assignments: list[str], option: str) -> dict[str, Any]:
    from harness.strict_yaml import loads

    values: dict[str, Any] = {}
    for text in assignments:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"{option} wants NAME=VALUE, got {text!r}")
        if name.strip() in values:
            raise ValueError(f"{option} {name.strip()} is given twice")
        values[name.strip()] = loads(value, f"{option} {name.strip()}")
    return values


def _print_table(head: list[str], rows: list[list[str]]) -> None:
    cells = [head, *[[_clean(value) for value in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


def _progress_line(line: str) -> None:
    print(_clean(line), file=sys.stderr, flush=True)


def _clean_lines(text: str) -> str:
    return "\n".join(_clean(line) for line in text.splitlines())


def _clean(text: str) -> str:
    """Without control signs, which could move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _fail(line: str, code: int) -> None:
    print(f"ropebench: {_clean(' '.join(line.split()))}", file=sys.stderr)
    raise typer.Exit(code)


def main(arguments: list[str] | None = None) -> None:
    """Entry point. What a user can mend is one line and exit code 2; everything else is a bug and shows itself."""
    sys.exit(answer(sys.argv[1:] if arguments is None else arguments))


def answer(arguments: list[str]) -> int:
    """The exit code of a command line."""
    _arguments[:] = arguments
    try:
        code = app(args=arguments, prog_name="ropebench", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.Exit as exit_:
        return exit_.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print("ropebench: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # a pager that was closed is no error
        return 0
    except Exception as error:
        usage = getattr(error, "format_message", None)  # a wrong option or argument
        if usage is None and not isinstance(error, ValueError | OSError):
            raise
        if os.environ.get("ROPEBENCH_TRACEBACK", "0") not in ("", "0"):
            import traceback

            traceback.print_exc()
        line = usage() if usage is not None else str(error) or type(error).__name__
        print(f"ropebench: {_clean(' '.join(line.split()))}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    main()
