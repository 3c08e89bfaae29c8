"""A method on a model: its plan, checks before it is used, searches of its numbers, and its export."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness import signals
from harness.commands import options
from harness.commands.terminal import clean, clean_lines, command_line, fail, from_here, print_table, say, values


def plan(
    extender: options.Method,
    model: options.ModelForConfiguration,
    target_length: options.TargetLength,
    length: Annotated[int | None, typer.Option(help="Prompt plus new tokens; the target length unless given.")] = None,
    parameter: options.Parameters = None,
    trained_length: options.TrainedLength = None,
    json_: Annotated[bool, typer.Option("--json", help="All numbers as JSON.")] = False,
) -> None:
    """Print the frequencies that a model would run with. Needs no weights."""
    options.check_method("plan", extender)
    import json

    from harness.tools.show_plan import planned, table

    given = values(parameter or [], "-p")
    content = planned(extender, given, model, target_length, length, trained_length)
    if json_:
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return
    head, rows = table(content)
    print(head)
    print_table(["pair", "period trained", "period planned", "rescale factor"], rows)


def preflight(
    extender: options.Method,
    model: options.Model,
    target_length: options.TargetLength,
    parameter: options.Parameters = None,
    trained_length: options.TrainedLength = None,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    seconds: Annotated[
        float, typer.Option(help="Time to take: checks that do not fit are made smaller, or not judged and named.")
    ] = 60.0,
) -> None:
    """Check in a minute whether a plan works on a model, before days of GPU time. Exit code 0 good, 1 failed."""
    options.check_method("preflight", extender)
    from harness.tools.preflight import preflight as check

    given = values(parameter or [], "-p")
    outcome = check(extender, given, from_here(model), target_length, trained_length, dtype, device, seconds, say)
    for note in outcome.notes:
        print(clean(f"note: {note}"))
    print_table(["tokens before", "unextended, nats", f"{extender}, nats"], outcome.rows)
    print_table(["", "check", "found"], [["ok" if c.ok else "FAILED", c.name, c.measured] for c in outcome.checks])
    for failed in outcome.failed:
        print(clean(f"failed: {failed.name}: {failed.reason}"))
    raise typer.Exit(1 if outcome.failed else 0)


def search(
    extender: options.Method,
    model: options.Model,
    target_length: options.TargetLength,
    budget: Annotated[
        int | None,
        typer.Option(help="Tokens that may go through the model; 100 prompts of the target length unless given."),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Search seed, 0 unless given; repeatable, one search each.")
    ] = None,
    parameter: options.Parameters = None,
    documents: Annotated[str | None, typer.Option(help="Folder of .txt and .md files to search on.")] = None,
    fine_tune: Annotated[
        str | None,
        typer.Option(help="Recipe of the training between the two searches that -p intermediate_length=N asks for."),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of that training, as in train; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/searches"),
    trained_length: options.TrainedLength = None,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
) -> None:
    """Search a method's numbers on a model; a stopped search continues."""
    options.check_method("search", extender)
    from harness.progress import progress
    from harness.tools import search_alone as search_command

    given = values(parameter or [], "-p")
    given |= {"budget": budget} if budget is not None else {}
    signals.hear()
    given |= {"documents": documents} if documents is not None else {}
    tuning = None if fine_tune is None else (fine_tune, values(setting or [], "--set"))
    try:
        results = search_command.search(
            extender,
            given,
            model,
            target_length,
            out,
            progress(),
            seed or [0],
            trained_length,
            dtype,
            fine_tune=tuning,
            device=device,
        )
    except KeyboardInterrupt:
        again = command_line()
        fail(f"stopped; every measured loss is kept in {out}, and this command continues: {again}", 130)
    for content in results:
        for line in search_command.table(content, out, extender):
            print(clean(line))


def search_study(
    model: options.Model,
    target_length: Annotated[int, typer.Option(help="What the methods are to reach, in tokens.")],
    forwards: Annotated[
        int, typer.Option(help="Budget of the official procedures, in prompts; 14080 is their full size.")
    ] = 1000,
    seed: Annotated[list[int] | None, typer.Option(help="Search seed, 0 to 4 unless given; repeatable.")] = None,
    texts: Annotated[int, typer.Option(help="Held-out texts that winners are compared on.")] = 64,
    samples: Annotated[
        int | None, typer.Option(help="Texts per candidate of the official procedures; 10 unless given.")
    ] = None,
    row: Annotated[list[str] | None, typer.Option(help="Only this row of the table; repeatable.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Row that others are compared with; the first unless given.")
    ] = None,
    first_text: Annotated[
        int, typer.Option(help="Number of the first held-out text: others than those that a claim was made on.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/search-study"),
    trained_length: options.TrainedLength = None,
    dtype: options.Dtype = "auto",
    documents: Annotated[
        str, typer.Option(help="Folder of .txt and .md files to hide needles in; the invented world unless given.")
    ] = "",
    device: options.Device = "auto",
) -> None:
    """Compare search procedures on held-out needles; a stopped search continues."""
    from harness.progress import progress
    from harness.store import write_whole
    from harness.tools.study import study
    from reports.figures.study import study_figure
    from reports.figures.study_cost import cost_figure
    from reports.numbers.search_study import files, markdown, summary

    signals.hear()
    seeds = seed or [0, 1, 2, 3, 4]
    measured = study(
        model,
        target_length,
        out,
        progress(),
        forwards,
        seeds,
        texts,
        samples,
        row or [],
        trained_length,
        dtype,
        reference,
        documents,
        device,
        first_text,
    )
    content = summary(measured, reference)
    figures = {"figure.svg": study_figure(content), "cost.svg": cost_figure(content)}
    for name, text in {**files(content), **figures}.items():
        write_whole(out / name, text)
    print(clean_lines(markdown(content)))


def export(
    extender: options.Method,
    model: options.ModelForConfiguration,
    target_length: options.TargetLength,
    parameter: options.Parameters = None,
    form: Annotated[
        str, typer.Option("--format", help="hf, vllm, sglang, mlx, llama.cpp, gguf or plan (all numbers).")
    ] = "hf",
    always_long: Annotated[
        bool, typer.Option("--always-long", help="Write the plan of the target length for every prompt.")
    ] = False,
    search_result: Annotated[
        Path | None, typer.Option("--found", help="Result of a search of this method, a .json file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; printed unless given.")] = None,
    trained_length: options.TrainedLength = None,
) -> None:
    """Write a plan as a model's config.json, as an engine's options, or as plan.json; checked before it is written."""
    options.check_method("export", extender)
    from harness.tools import export as exports

    given = values(parameter or [], "-p")
    text, notes = exports.export(
        extender, given, model, target_length, trained_length, search_result,
        form=form, always_long=always_long, out=out,
    )  # fmt: skip
    _leave(text, notes, out if form != "gguf" else None)


def import_(
    file: Annotated[Path, typer.Argument(help="A plan.json, config.json, overrides, llama.cpp options or .gguf file.")],
    model: options.ModelForConfiguration,
    target_length: Annotated[int | None, typer.Option(help="Unless the file says it; in tokens.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="What the file is, where its content does not say it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; printed unless given.")] = None,
    trained_length: options.TrainedLength = None,
) -> None:
    """Read a plan from what engines run, as a plan.json that the method `pinned` takes."""
    from harness.tools import import_plan

    text, notes = import_plan.import_plan(file, model, target_length, trained_length, form)
    _leave(text, notes, out)


def _leave(text: str, notes: list[str], out: Path | None) -> None:
    for note in notes:
        print(clean(f"note: {note}"), file=sys.stderr)
    if out is None:
        print(text)
    else:
        from harness.files_on_disk import write_whole

        write_whole(out, text + "\n")
        print(clean(str(out)))
