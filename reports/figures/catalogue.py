"""All figures of a report by name, with their captions.

A new figure is a function here, in `FIGURES`, that says what to draw; the paper kit holds it then as PDF and SVG, and a
section of the page shows it with `{{ m.figure("its name") }}`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from reports.figures import style, tradeoffs
from reports.figures.cost_bars import cost_bars
from reports.figures.curves import curves
from reports.figures.drawing import Drawing, PlannedFigure, draw
from reports.figures.heat import heat_maps
from reports.figures.learning import losses, trajectories
from reports.figures.loss_by_position import loss_by_position
from reports.figures.rescale_factors import rescale_factors
from reports.figures.waterfall import waterfall
from reports.numbers.depths import DepthMap
from reports.numbers.grid import tokens
from reports.numbers.results import Results
from reports.numbers.scores import Scores


def _curves(results: Results) -> PlannedFigure:
    trained = any(label != family for label, family in results.frames.families.items())
    alike = results.over_lengths
    return PlannedFigure(
        "curves",
        "Average score of the long-context tests against length; bands are 95 % intervals."
        + (" Dashed lines and open marks are methods after a training." if trained else "")
        + (f" {alike}" if alike else ""),
        lambda narrow: curves(results.scores, results.summary, narrow),
    )


def _rescale_factors(results: Results) -> PlannedFigure:
    return PlannedFigure(
        "rescale",
        "Above: how far each rotary pair is slowed down at the target length (λ, log scale; dotted: a critical "
        "pair that a method was given or found). Below: the share of its period that one training window covers. "
        "From the critical pair on, no full period was seen.",
        lambda narrow: rescale_factors(results.frames, style.colours_of(results.frames), narrow),
    )


def _short_and_long(results: Results) -> PlannedFigure:
    return PlannedFigure(
        "short-and-long",
        "Short context kept against long-context score: up and to the right is better. Bars are 95 % intervals; "
        "the dashed line joins the methods that no other beats on both.",
        lambda narrow: tradeoffs.scatter(
            tradeoffs.short_and_long(results.retention, results.summary, results.column, results.frames.labels),
            "Short context kept, % of original",
            f"Long average at {tokens(results.judged)} tokens, %",
            style.colours_of(results.frames),
            narrow=narrow,
        ),
    )


def _score_and_cost(results: Results) -> PlannedFigure:
    return PlannedFigure(
        "score-and-cost",
        "Long-context score against what search and training cost: up and to the left is better. A trained token "
        "counts as three token-forwards.",
        lambda narrow: tradeoffs.scatter(
            tradeoffs.cost_and_score(results.costs, results.summary, results.column),
            "Search and training, millions of token-forwards",
            f"Long average at {tokens(results.judged)} tokens, %",
            style.colours_of(results.frames),
            cheaper=True,
            narrow=narrow,
        ),
    )


def _waterfall(results: Results) -> PlannedFigure:
    return PlannedFigure(
        "waterfall",
        "What each part of the method adds, each bar against the one before it on the same samples, in points; "
        "whiskers are 95 % intervals of the gain.",
        lambda narrow: waterfall(*results.gains, results.judged, narrow),
    )


def _cost(results: Results) -> PlannedFigure:
    return PlannedFigure(
        "cost",
        "What each method cost: evaluation light, search and training dark.",
        lambda narrow: cost_bars(results.costs, style.colours_of(results.frames), narrow),
    )


def _search(results: Results) -> PlannedFigure:
    frames = results.frames
    return PlannedFigure(
        "search",
        "Searches: the best candidate so far (line: the lowest loss among those measured on the most texts) and "
        "the last loss of every candidate (dots), against what was spent.",
        lambda narrow: trajectories(results.searches, style.colours_of(frames), frames.labels, narrow),
    )


def _training(results: Results) -> PlannedFigure:
    frames = results.frames
    return PlannedFigure(
        "training",
        "Training loss by class of sequences.",
        lambda narrow: losses(results.trainings, style.colours_of(frames), frames.labels, narrow),
    )


# In the order of the paper kit. Of these each store has one, if it has what to draw.
FIGURES: tuple[Callable[[Results], PlannedFigure], ...] = (
    _curves,
    _rescale_factors,
    _short_and_long,
    _score_and_cost,
    _waterfall,
    _cost,
    _search,
    _training,
)


def _loss_by_position(scores: Scores, task: str) -> PlannedFigure:
    lengths = [length for name, length in scores.tests("nats") if name == task]
    return PlannedFigure(
        f"position-{scores.frames.file_names[task]}",
        f"{task}: mean loss by position in documents of up to {tokens(max(lengths))} tokens.",
        lambda narrow: loss_by_position(scores, task, narrow),
    )


def _heat_maps(depth_map: DepthMap) -> PlannedFigure:
    return PlannedFigure(
        f"heat-{depth_map.file_name}",
        f"{depth_map.task}: right answers in %, by depth of the target (down) and length in tokens (across).",
        lambda narrow: heat_maps(depth_map, narrow),
        on_page=False,  # which has maps of its own, made of HTML
    )


def planned_figures(results: Results) -> Sequence[PlannedFigure]:
    """Every figure that this store may have."""
    return [
        *(plan(results) for plan in FIGURES),
        *(
            _loss_by_position(results.scores, task)
            for task in dict.fromkeys(t for t, _ in results.scores.tests("nats"))
        ),
        *(_heat_maps(depth_map) for depth_map in results.depth_maps),
    ]


Attempt = Callable[[str, Callable[[], Drawing | None], None], Drawing | None]


def drawings(results: Results, attempt: Attempt = lambda what, make, otherwise: make()) -> Mapping[str, Drawing]:
    """Every figure that this store has something to draw for. `attempt` makes each, and may give None instead."""
    made = {
        planned.name: attempt(f"figure {planned.name!r}", partial(draw, planned), None)
        for planned in planned_figures(results)
    }
    return {name: drawing for name, drawing in made.items() if drawing is not None}
