"""Loss by position in the document: does a model use what stands far back?"""

import numpy as np
from matplotlib.figure import Figure

from reports.figures import style
from reports.numbers.loss_curve import curve_of
from reports.numbers.scores import Scores


def loss_by_position(scores: Scores, task: str, narrow: bool = False) -> Figure | None:
    """Mean loss by position in the document at the longest length that has curves."""
    rows = scores.frames.rows[scores.frames.rows["task"] == task]
    curve = rows["extra"].map(curve_of)
    rows = rows.assign(curve=curve)[curve.notna()]
    if rows.empty:
        return None
    length = int(rows["length"].max())
    rows = rows[rows["length"] == length]
    colour = style.colours_of(scores.frames)
    figure = Figure(figsize=(style.NARROW, 2.7) if narrow else (style.WIDE, 3.4))
    axes = figure.subplots()
    ends = []
    for i, label in enumerate(scores.frames.labels):
        curves = list(rows[rows["label"] == label]["curve"])
        curves = [(edges, loss) for edges, loss in curves if edges == curves[0][0]]
        if not curves:
            continue
        edges = np.array(curves[0][0], dtype=float)
        loss = np.mean([values for _, values in curves], axis=0)
        middle = np.sqrt(np.maximum(edges[:-1], 1) * edges[1:]) if edges[-1] > 0 else edges[1:]
        style.tag(axes.plot(middle, loss, color=colour[label])[0], i)
        ends.append(style.End(i, label, float(middle[-1]), float(loss[-1]), colour[label]))
    powers = [2**k for k in range(4, 24, 2 if narrow else 1) if 2**k <= length]
    style.length_axis(axes, powers, scores.frames.trained_length)
    axes.set_xlabel("Position in the document, tokens")
    axes.set_ylabel("Loss, nats per token")
    style.margins(figure, 0.5, style.label_room(scores.frames.labels), 0.42, 0.1)
    style.label_ends(axes, ends)
    return figure
