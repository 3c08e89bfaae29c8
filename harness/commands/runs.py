"""Experiments and their results: run, status, report, compare; and the samples of tests as files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import signals
from harness.commands import options
from harness.commands.terminal import clean, fail, from_here, print_table, say, values

if TYPE_CHECKING:
    from harness.experiment.file import Code, Experiment


def run(
    experiment: options.Experiment = "quick",
    out: Annotated[Path | None, typer.Option(help="Folder of the results; results/NAME unless given.")] = None,
    model: options.OtherModel = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed instead of the file's; may be repeated.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE instead of the file's; repeatable.")
    ] = None,
    date: Annotated[str | None, typer.Option(help="The date that the report carries.")] = None,
    report: Annotated[bool, typer.Option(help="Write the report at the end.")] = True,
    cache: Annotated[bool, typer.Option(help="Keep the prompts for other runs.")] = True,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that share the work; one for each core with a small model on a CPU."),
    ] = None,
    only_shipped: Annotated[
        bool, typer.Option("--only-shipped", help="Refuse methods that are files: such a file is code that runs.")
    ] = False,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Say what there is to do and how long it takes here; do nothing.")
    ] = False,
    points: Annotated[
        float, typer.Option(min=0.1, max=99, help="With --plan-only: samples for a difference of so many points.")
    ] = 5.0,
    served: Annotated[
        list[str] | None,
        typer.Option(help="METHOD=URL of a server with OpenAI's completions API that runs that plan; repeatable."),
    ] = None,
    served_as: Annotated[
        str, typer.Option(help="What serves, as keys and report say it, like 'vllm 0.11, bfloat16'.")
    ] = "as served",
    parity: Annotated[
        int, typer.Option(min=0, help="Prompts of every length that are answered here too, beside a server.")
    ] = 2,
    device: options.Device = "auto",
) -> None:
    """Run an experiment, or what is missing of it, and write its report."""
    from harness.commands.work import compute_and_report, print_plan
    from harness.experiment import file as experiments
    from harness.runner.serving import serving_of

    overrides = values(set_ or [], "--set")
    overrides |= {"model": from_here(model)} if model else {}
    overrides |= {"seeds": list(seed)} if seed else {}

    def read(code: "Code") -> tuple["Experiment", Path]:
        plan = experiments.read(experiments.find(experiment), overrides, code)
        return plan, out or Path("results") / plan.name

    servers = serving_of(served or [], served_as, parity)
    if plan_only:
        print_plan(read, workers, device, only_shipped, points)
        return
    raise typer.Exit(compute_and_report(read, cache, workers, device, report, date, only_shipped, servers))


def status(folder: Annotated[Path, typer.Argument(help="A result store.")]) -> None:
    """Say which cells of a run are finished, failed or missing."""
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
    model = content["model"].get("name", "a model")
    print(clean(f"{content['name']} on {model}, target {content['target_length']} tokens"))
    rows = [[label, *map(str, count.values())] for label, count in counts.items()]
    print_table(["method", "done", "failed", "missing"], [*rows, ["all", *map(str, total.values())]])
    if (adaptive := content.get("adaptive")) is not None:
        growing = [cell for cell in content["cells"] if "most_samples" in cell]
        used, most = (sum(cell[size] for cell in growing) for size in ("samples", "most_samples"))  # type: ignore[literal-required]
        words = f"adaptive, compared with {adaptive['against']}, margin {adaptive['margin']:g} points"
        print(clean(f"{words}: {used} of {most} samples asked for by now"))
    for search in content.get("searches", []):
        searched = store.search(search["key"])
        state = "missing; its cells are planned when it is done" if searched is None else searched["status"]
        reason = f": {searched['error']}" if searched is not None and searched["error"] else ""
        print(clean(f"search of {search['label']}: {state}{reason}"))
    for training in content.get("trainings", []):
        trained = store.training(training["key"])
        state = "missing" if trained is None else trained["status"]
        reason = f": {trained['error']}" if trained is not None and trained["error"] else ""
        print(clean(f"training of {training['method']}, seed {training.get('seed', 0)}: {state}{reason}"))
    for reason, places in failures.items():
        print(f"failed: {clean(reason)}")
        for place in places:
            print(f"  {clean(place)}")


def check(
    folder: Annotated[Path, typer.Argument(help="A result store.")],
    repair: Annotated[
        bool, typer.Option(help="Set aside what is damaged, so that the next run computes it again.")
    ] = True,
) -> None:
    """Read a whole store: does it say what was written? Exit code 0 it does, 1 something is damaged."""
    from harness.files_on_disk import held, sweep
    from harness.records import damage
    from harness.store import Store

    store = Store(folder)
    if not (folder / "cells").is_dir():
        Store.open(folder)  # says why it is no store
    with held(folder / "run.lock", str(folder)):
        sweep(folder)
        found = damage.look(store)
        aside = damage.set_aside(store, found.damaged) if repair and found.damaged else None
    for bad in found.damaged:
        print(clean(f"damaged: {bad.file}: {bad.reason}"))
    for name in found.foreign:
        print(clean(f"foreign: {name}: ropebench did not write it"))
    if found.unsealed:
        print(f"{found.unsealed} records carry no seal, as before there were seals: an edited number would not be seen")
    if found.without_prompt:
        print(f"{found.without_prompt} cells name prompts whose files are gone; their numbers stand")
    print(f"{found.read} files read, {len(found.damaged)} damaged")
    if aside is not None:
        print(clean(f"set aside in {aside}; ropebench run of the same experiment makes them again"))
    if found.damaged:
        raise typer.Exit(1)


def report(
    folder: Annotated[Path, typer.Argument(help="A result store.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the report; the store's own unless given.")] = None,
    date: Annotated[str | None, typer.Option(help="The date that the report carries.")] = None,
) -> None:
    """Write the report of a result store."""
    from harness.commands.work import write_report
    from harness.store import Store

    write_report(Store.open(folder), out, date)


def rescore(
    folder: Annotated[Path, typer.Argument(help="A result store; it stays as it is.")],
    rule: Annotated[
        str | None,
        typer.Option(help="MODULE:FUNCTION of ropebench, or a .py file with a function score; today's unless given."),
    ] = None,
    test: Annotated[list[str] | None, typer.Option(help="A test of the store; repeatable. All unless given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the new store; STORE-rescored unless given.")] = None,
    date: Annotated[str | None, typer.Option(help="The date that the report carries.")] = None,
) -> None:
    """Score stored answers by another rule, without the model, into a store of their own."""
    from harness.commands.work import write_report
    from harness.store import Store
    from harness.tools import rescore as rescoring

    if rule is not None and rule.endswith(".py"):
        say(f"the rule {rule} is code, and it runs now with your rights")
    chosen = rescoring.rule_of(rule) if rule is not None else None
    target = out or folder.with_name(f"{folder.resolve().name}-rescored")
    lines = rescoring.rescore(Store.open(folder), target, chosen, test or [])
    head = ["method", "test", "length", "before", "after", "changed"]
    shown = [
        [one.method, one.test, str(one.length), f"{100 * one.before:.1f} %", f"{100 * one.after:.1f} %"]
        + [f"{one.changed} of {one.answers}"]
        for one in lines
    ]
    print_table(head, shown)
    write_report(Store.open(target), None, date)


def compare(
    base: Annotated[str, typer.Argument(help="A result store; with --preset also a method, or its file.")],
    candidate: Annotated[str, typer.Argument(help="The store (or method) that must not be worse.")],
    margin: Annotated[float | None, typer.Option(help="Largest drop that passes, in points; 1 unless given.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="ci: run two methods at the size of this preset first, and use its margin.")
    ] = None,
    base_label: Annotated[str | None, typer.Option(help="Method in the base; all methods unless given.")] = None,
    candidate_label: Annotated[str | None, typer.Option(help="Method in the candidate.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="A condition that may differ; repeatable.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a comment for a pull request to this file.")] = None,
    model: Annotated[str | None, typer.Option(help="Another model than the preset's.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the preset's results; results/PRESET-BASE-CANDIDATE unless given.")
    ] = None,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
) -> None:
    """Is a candidate at most a margin worse than its base? Exit code 0 passed, 1 failed, 2 cannot compare."""
    from harness.commands.work import run_preset
    from harness.experiment.parameters import hint
    from harness.experiment.preset import is_store, preset_labels, preset_name
    from reports.gate import formats as gate_formats
    from reports.gate import gate

    if preset is not None and preset not in gate.PRESETS:
        raise ValueError(f"no preset is named {preset!r}; {hint(preset, list(gate.PRESETS))}")
    folders = Path(base), Path(candidate)
    if preset and not (is_store(base) or is_store(candidate)):
        folders = (out or Path("results") / preset_name(preset, base, candidate),) * 2
        base_label, candidate_label = preset_labels(base, candidate)
        run_preset(preset, (base, candidate), model, folders[0], dtype, device)
    allowed = gate.PRESETS[preset] if preset and margin is None else gate.MARGIN if margin is None else margin
    try:
        answer = gate.compare(*folders, allowed, base_label, candidate_label, allow or [])
    except gate.CannotCompare as refusal:
        gate_formats.write(refusal, junit, markdown)
        raise
    gate_formats.write(answer, junit, markdown)
    print_table(gate_formats.HEAD, gate_formats.lines(answer))
    for note in answer.notes:
        print(clean(f"note: {note}"))
    print(clean(gate_formats.summary(answer)))
    raise typer.Exit(answer.exit_code)


def generate(
    test: options.Tests,
    length: Annotated[list[int], typer.Option(help="Prompt plus new tokens, in tokens; repeatable.")],
    model: Annotated[str, typer.Option(help="Shipped model, folder or hub name; only its tokenizer is read.")],
    out: Annotated[Path, typer.Option(help="Folder of the files.")],
    samples: Annotated[int, typer.Option(help="Samples of every test at every length.")] = 20,
    seed: Annotated[list[int] | None, typer.Option(help="Seed of the samples, 0 unless given; repeatable.")] = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE of the tests; repeatable.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 chooses their number.")] = 0,
    cache: Annotated[bool, typer.Option(help="Keep the samples for other runs.")] = True,
) -> None:
    """Write tests as files: samples as JSONL, and lm-eval tasks that run and score them with any backend."""
    from harness.prompts.generate import command
    from harness.prompts.generate import generate as write

    signals.hear()
    given = values(parameter or [], "-p")
    settings: dict[str, Any] = {"seeds": seed or [0], "parameters": given, "workers": workers, "cached": cache}
    made = write(test, out, model=model, lengths=length, samples=samples, **settings, say=say)
    whole = [file for file in made if file.file]
    how = [f"{file.seconds:.1f} s" if file.seconds else "from the cache" for file in whole]
    print_table(["samples", "made in"], [[str(file.file), words] for file, words in zip(whole, how, strict=True)])
    if whole:
        print(f"run them with: {command(whole, out, model)}")
    if len(whole) < len(made):
        fail(f"{len(made) - len(whole)} of {len(made)} could not be made", 1)
