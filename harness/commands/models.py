"""Models: fine-tuning under a method, and what a forward pass costs."""

from pathlib import Path
from typing import Annotated

import typer

from harness import signals
from harness.commands import options
from harness.commands.terminal import fail, print_table, say, values


def train(
    extender: options.Method,
    recipe: Annotated[str, typer.Option(help="See: ropebench list recipes.")],
    model: options.Model,
    target_length: options.TargetLength,
    tokens: Annotated[int, typer.Option(help="Tokens to train on; the training stops before it would use more.")],
    seed: Annotated[int, typer.Option(help="Seed of the order of the data and of everything random.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="SETTING=VALUE, as corpus, learning_rate, lora; repeatable.")
    ] = None,
    parameter: options.Parameters = None,
    out: Annotated[Path, typer.Option(help="Result store that keeps weights and record.")] = Path("results/train"),
    save_model: Annotated[Path | None, typer.Option(help="Also write the whole trained model to this folder.")] = None,
    trained_length: options.TrainedLength = None,
    device: options.Device = "auto",
) -> None:
    """Fine-tune a model under one method's plan; a stopped training continues. Several GPUs: under torchrun."""
    options.check_method("train", extender)
    from harness.tools.train_alone import train_alone

    signals.hear()
    settings = values(set_ or [], "--set")
    if "tokens" in settings:
        raise ValueError("--set tokens: say it with --tokens")
    record, kept = train_alone(
        extender, values(parameter or [], "-p"), recipe, {**settings, "tokens": tokens}, model, target_length, out,
        seed=seed, save_model=save_model, trained_length=trained_length, device=device,
        say=say,
    )  # fmt: skip
    if record["error"]:
        fail(record["error"], 1)
    cost = record["cost"]
    print(f"{'kept from before' if kept else 'trained'}: {out}/trainings/{record['key']}")
    print(f"{cost['tokens']:,} tokens in {cost['seconds']:.0f} s, {len(record['curve'])} steps")
    for point in (record["curve"][0], record["curve"][-1]):
        losses = ", ".join(f"{kind} {loss:.3f}" for kind, loss in point["loss"].items())
        print(f"step {point['step']}: {losses} nats per token")


def bench(
    what: Annotated[
        str,
        typer.Argument(
            help="prefill; candidate (of a search, compared with full logits); stages (shares of this machine's "
            "rates); shape (the same of a model of that size with random weights, and a training step)."
        ),
    ] = "prefill",
    model: options.Model = "pocket-llama",
    length: Annotated[
        list[int] | None, typer.Option(help="Length in tokens, 512, 2048 and 8192 unless given; repeatable.")
    ] = None,
    extender: Annotated[str, typer.Option(help="The method, or its file, whose plan is applied.")] = "yarn",
    pairs: Annotated[int, typer.Option(help="Timed pairs for each length.")] = 5,
    shape: Annotated[
        str | None, typer.Option(help="Candidate, shape: random weights of this size instead of a model: llama3-8b, …")
    ] = None,
    gradient: Annotated[
        bool, typer.Option("--gradient", help="Candidate: a step of a search by gradient and one of training, too.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="Candidate: this way alone; repeatable.")] = None,
    training: Annotated[bool, typer.Option("--training", help="Shape: a training step with adapters, too.")] = False,
) -> None:
    """Measure the time of a prefill with and without a plan, of a search's candidate, or of every stage."""
    lengths = length or [512, 2048, 8192]
    if what not in ("prefill", "candidate", "stages", "shape"):
        raise ValueError(f"bench measures prefill, candidate, stages or shape, got {what!r}")
    if what != "candidate" and (gradient or only):
        raise ValueError(f"{'--gradient' if gradient else '--only'} is for: ropebench bench candidate")
    if what != "shape" and training:
        raise ValueError("--training is for: ropebench bench shape")
    if what not in ("candidate", "shape") and shape is not None:
        raise ValueError("--shape is for: ropebench bench candidate, ropebench bench shape")
    if what == "candidate":
        from harness.tools.bench_candidate import HEAD, bench_candidate, line, opened

        ways = bench_candidate(*opened(model, shape), lengths, pairs, say, gradient, only or ())
        print_table(HEAD, [line(way) for way in ways])
        return
    from harness.tools.bench_stages import HEAD_OF_STAGES, as_row, bench_stages

    if what == "shape":
        from harness.tools.bench_candidate import random_model
        from harness.tools.bench_shape import bench_shape

        stages = bench_shape(*random_model(shape or "llama3-8b"), lengths, pairs, say, training)
        print_table(HEAD_OF_STAGES, [as_row(stage) for stage in stages])
        return
    options.check_method("bench", extender)
    if what == "stages":
        print_table(HEAD_OF_STAGES, [as_row(stage) for stage in bench_stages(model, lengths, extender, pairs)])
        return
    from harness.tools.bench import bench as measure

    rows = []
    for timing in measure(model, lengths, extender, pairs):
        ratio = f"{timing.ratio:.3f} [{timing.lowest:.3f}, {timing.highest:.3f}]"
        seconds = [f"{timing.plain_seconds:.3f}", f"{timing.planned_seconds:.3f}"]
        rows.append([timing.what, str(timing.length), *seconds, ratio])
    print_table(["", "tokens", "as loaded, s", "under the plan, s", "ratio of pairs [range]"], rows)


def lm_eval(context: typer.Context) -> None:
    """lm-eval's own command line, which knows --model ropebench here: pretrained=…,extender=…,target_length=…."""
    from harness.tools.lm_eval_model import run_lm_eval

    raise typer.Exit(run_lm_eval(context.args))
