"""Models: fine-tuning under a method, the shipped ones and their cards, and what a forward pass costs."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.terminal import fail, print_table, say, values


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
    from harness.tools.train_alone import train_alone

    settings = values(set_ or [], "--set")
    if "tokens" in settings:
        raise ValueError("--set tokens: say it with --tokens")
    record = train_alone(
        extender, values(parameter or [], "-p"), recipe, {**settings, "tokens": tokens}, model, target_length, out,
        seed=seed, save_model=save_model, trained_length=trained_length,
        say=say,
    )  # fmt: skip
    if record["error"]:
        fail(record["error"], 1)
    cost = record["cost"]
    print(f"{'kept from before' if record['kept'] else 'trained'}: {out}/trainings/{record['key']}")
    print(f"{cost['tokens']:,} tokens in {cost['seconds']:.0f} s, {len(record['curve'])} steps")
    for point in (record["curve"][0], record["curve"][-1]):
        losses = ", ".join(f"{kind} {loss:.3f}" for kind, loss in point["loss"].items())
        print(f"step {point['step']}: {losses} nats per token")


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


def card(
    folder: Annotated[Path, typer.Argument(help="Folder of a pocket model.")],
    name: Annotated[str, typer.Option(help="Whose recipe made it.")],
    scores: Annotated[Path | None, typer.Option(help="A result store of: ropebench run pocket-card.")] = None,
) -> None:
    """Write the model card of a pocket model."""
    from harness.pocket.card import write_card
    from harness.store import Store

    print(write_card(folder, name, Store.open(scores) if scores else None))


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
        from harness.tools.bench_candidate import HEAD, bench_candidate, line, opened

        print_table(HEAD, [line(one) for one in bench_candidate(*opened(model, shape), lengths, pairs, say)])
        return
    from harness.tools.bench import bench as measure

    rows = []
    for one in measure(model, lengths, extender, pairs):
        ratio = f"{one.ratio:.3f} [{one.lowest:.3f}, {one.highest:.3f}]"
        rows.append([one.what, str(one.length), f"{one.plain_seconds:.3f}", f"{one.planned_seconds:.3f}", ratio])
    print_table(["", "tokens", "as loaded, s", "under the plan, s", "ratio of pairs [range]"], rows)
