"""All figures of a report by name: drawn once for the page, wide and narrow, and once for a paper."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from reports.figures import curves as figures
from reports.figures import heat, learning, style, tradeoffs
from reports.numbers import over_lengths
from reports.numbers.grid import Grid
from reports.numbers.scores import Scores
from reports.numbers.searches_and_trainings import Search, Training
from reports.numbers.tables import Summary, tokens


@dataclass(frozen=True)
class Plate:
    """A figure before it is drawn. `make(narrow)` gives None where there is nothing to draw."""

    name: str
    caption: str
    make: Callable[[bool], Figure | None]
    on_page: bool = True


@dataclass(frozen=True)
class Drawing:
    """A figure in all its forms: two elements for the page, and the files of a paper."""

    name: str
    caption: str
    wide: Markup
    narrow: Markup
    svg: str
    figure: Figure

    @cached_property
    def pdf(self) -> bytes:
        """Drawn when it is asked for: embedding its fonts takes longer than all the rest."""
        with style.drawing(self.name):
            return style.to_pdf(self.figure)


def draw(plate: Plate) -> Drawing | None:
    with style.drawing(plate.name):
        figure = plate.make(False)
        if figure is None:
            return None
        svg = style.to_svg(figure)
    wide = narrow = Markup()
    if plate.on_page:
        with style.drawing(f"{plate.name} narrow"):
            small = plate.make(True)
            assert small is not None
            narrow = Markup(style.themed(style.to_svg(small), plate.caption))
        wide = Markup(style.themed(svg, plate.caption))
    return Drawing(plate.name, plate.caption, wide, narrow, style.standalone(svg), figure)


def plates(
    scores: Scores,
    found: Summary,
    kept: Grid | None,
    column: int,
    totals: pd.DataFrame,
    searches: Sequence[Search],
    trainings: Sequence[Training],
) -> list[Plate]:
    """Every figure that this store may have; `column` is the length that is judged."""
    frames = scores.frames
    labels = frames.labels
    colour, _ = figures.looks(scores)
    length = found.lengths[column] if found.lengths else frames.target_length
    start, steps = tradeoffs.waterfall_steps(scores, found, column)
    trained = any(label != family for label, family in frames.families.items())
    alike = over_lengths.note(found.tests)
    listed = [
        Plate(
            "curves",
            "Average score of the long-context tests against length; bands are 95 % intervals."
            + (" Dashed lines and open marks are methods after a training." if trained else "")
            + (f" {alike}" if alike else ""),
            lambda narrow: figures.curves(scores, found, narrow),
        ),
        Plate(
            "rescale",
            "Above: how far each rotary pair is slowed down at the target length (λ, log scale; dotted: a critical "
            "pair that a method was given or found). Below: the share of its period that one training window covers. "
            "From the critical pair on, no full period was seen.",
            lambda narrow: figures.rescale_factors(frames, colour, narrow),
        ),
        Plate(
            "short-and-long",
            "Short context kept against long-context score: up and to the right is better. Bars are 95 % intervals; "
            "the dashed line joins the methods that no other beats on both.",
            lambda narrow: tradeoffs.scatter(
                tradeoffs.short_and_long(kept, found, column, labels),
                "Short context kept, % of original",
                f"Long average at {tokens(length)} tokens, %",
                colour,
                narrow=narrow,
            ),
        ),
        Plate(
            "score-and-cost",
            "Long-context score against what search and training cost: up and to the left is better. A trained token "
            "counts as three token-forwards.",
            lambda narrow: tradeoffs.scatter(
                tradeoffs.cost_and_score(totals, found, column),
                "Search and training, millions of token-forwards",
                f"Long average at {tokens(length)} tokens, %",
                colour,
                cheaper=True,
                narrow=narrow,
            ),
        ),
        Plate(
            "waterfall",
            "What each part of the method adds, each bar against the one before it on the same samples, in points; "
            "whiskers are 95 % intervals of the gain.",
            lambda narrow: tradeoffs.waterfall(start, steps, length, colour, narrow),
        ),
        Plate(
            "cost",
            "What each method cost: evaluation light, search and training dark.",
            lambda narrow: tradeoffs.cost(totals, colour, narrow),
        ),
        Plate(
            "search",
            "Searches: the best candidate so far (line: the lowest loss among those measured on the most texts) and "
            "the last loss of every candidate (dots), against what was spent.",
            lambda narrow: learning.trajectories(searches, colour, labels, narrow),
        ),
        Plate(
            "training",
            "Training loss by class of sequences.",
            lambda narrow: learning.losses(trainings, colour, labels, narrow),
        ),
    ]
    for task in dict.fromkeys(task for task, _ in scores.tests("nats")):
        listed.append(_position(scores, task))
    for one in heats(scores):
        listed.append(
            Plate(
                f"heat-{one.task}".replace("/", "-"),
                f"{one.task}: right answers in %, by depth of the target (down) and length in tokens (across).",
                lambda narrow, one=one: heat.figure(one, narrow),  # type: ignore[misc]
                on_page=False,
            )
        )
    return listed


def _position(scores: Scores, task: str) -> Plate:
    def make(narrow: bool) -> Figure | None:
        drawn = figures.loss_by_position(scores, task, narrow)
        return drawn[0] if drawn else None

    lengths = [length for name, length in scores.tests("nats") if name == task]
    caption = f"{task}: mean loss by position in documents of up to {tokens(max(lengths))} tokens."
    return Plate(f"position-{task}".replace("/", "-"), caption, make)


def heats(scores: Scores) -> list[heat.Heat]:
    """The needle heat maps: retrieval tests with depths, RULER's own left to their tables."""
    cells = scores.frames.cells
    deep = cells[(cells["category"] == "retrieval") & ~cells["task"].str.startswith("ruler")]["task"].unique()
    return [one for task in deep if (one := heat.heat(scores, str(task)))]


def drawn(listed: Sequence[Plate]) -> Mapping[str, Drawing]:
    return {plate.name: one for plate in listed if (one := draw(plate))}
