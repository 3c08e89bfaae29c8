"""Figures of what happened before the evaluation: search trajectories and training losses."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from reports.figures import style
from reports.numbers.searches import SearchHistory, TriedCandidate
from reports.numbers.trainings import TrainingHistory

DOTS = 300  # candidates drawn for one search; more are thinned out evenly
Pattern = tuple[int, tuple[float, ...]]
LINES: tuple[Pattern, ...] = (
    (0, ()),
    (0, (4, 2)),
    (0, (1, 1.5)),
    (0, (5, 1.5, 1, 1.5)),
)  # one pattern for each class of sequences


def trajectories(
    searches: Sequence[SearchHistory], colour: Mapping[str, str], labels: Sequence[str], narrow: bool = False
) -> Figure | None:
    """Lowest search loss so far against token-forwards spent, over the losses of all candidates."""
    drawn = [search for search in searches if len(search.candidates) > 1]
    if not drawn:
        return None
    figure = Figure(figsize=(style.NARROW, 2.9) if narrow else (style.WIDE, 3.4))
    axes = figure.subplots()
    ends = []
    for search in drawn:
        method = labels.index(search.label) if search.label in labels else len(labels)
        shade = colour.get(search.label, style.MUTED)
        dots = _thinned(sorted(search.candidates, key=lambda c: (c.spent, c.number)))
        style.tag(
            axes.plot([dot.spent / 1e6 for dot in dots], [dot.loss for dot in dots], "o", color=shade, alpha=0.4,
                      markersize=2.6, markeredgewidth=0)[0],
            method,
        )  # fmt: skip
        best = search.best
        last = max(candidate.spent for candidate in search.candidates)
        xs, ys = [x for x, _ in best] + [last], [y for _, y in best] + [best[-1][1]]
        style.tag(axes.step([x / 1e6 for x in xs], ys, where="post", color=shade)[0], method)
        ends.append(style.End(method, search.label, last / 1e6, ys[-1], shade))
    lines = [y for search in drawn for _, y in search.best]
    lowest = min(lines)
    worst = sorted(candidate.loss for search in drawn for candidate in search.candidates)
    axes.set_ylim(lowest - 0.03 * abs(lowest) - 0.01, max(worst[int(0.9 * (len(worst) - 1))], *lines, lowest + 0.05))
    axes.set_xlabel("Spent, millions of token-forwards")
    axes.set_ylabel("Search loss, nats per token")
    style.margins(figure, 0.5, style.label_room([search.label for search in drawn]), 0.42, 0.1)
    style.label_ends(axes, ends)
    return figure


def _thinned(candidates: list[TriedCandidate]) -> list[TriedCandidate]:
    return candidates if len(candidates) <= DOTS else [candidates[i * len(candidates) // DOTS] for i in range(DOTS)]


def losses(
    trainings: Sequence[TrainingHistory], colour: Mapping[str, str], labels: Sequence[str], narrow: bool = False
) -> Figure | None:
    """Training loss against trained tokens, one line pattern for each class of sequences."""
    drawn = [training for training in trainings if any(training.curves.values())]
    if not drawn:
        return None
    kinds = list(dict.fromkeys(kind for training in drawn for kind in training.curves))
    figure = Figure(figsize=(style.NARROW, 3.1) if narrow else (style.WIDE, 3.4))
    axes = figure.subplots()
    ends: list[style.End] = []
    for training in drawn:
        method = labels.index(training.label) if training.label in labels else len(labels)
        shade = colour.get(training.label, style.MUTED)
        for kind, points in training.curves.items():
            if points:
                xs, ys = [x / 1e6 for x, _ in points], [y for _, y in points]
                pattern = LINES[kinds.index(kind) % len(LINES)]
                style.tag(axes.plot(xs, ys, color=shade, linestyle=pattern, linewidth=1.4)[0], method)
        points = max(training.curves.values(), key=lambda line: (line[-1][0], line[-1][1]) if line else (0.0, 0.0))
        if any(end.method == method for end in ends):
            continue  # another seed of the same method
        ends.append(style.End(method, training.label, points[-1][0] / 1e6, points[-1][1], shade))
    for kind, pattern in zip(kinds, LINES, strict=False):
        axes.plot([], [], color=style.INK, linestyle=pattern, linewidth=1.2, label=kind)
    axes.legend(loc="upper right", frameon=False, fontsize=8, labelcolor=style.INK)
    axes.set_xlabel("Trained, millions of tokens")
    axes.set_ylabel("Training loss, nats per token")
    style.margins(figure, 0.5, style.label_room([training.label for training in drawn]), 0.42, 0.1)
    style.label_ends(axes, ends)
    return figure
