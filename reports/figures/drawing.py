"""A figure in all its forms: as elements of the page, wide and narrow, and as the files of a paper."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup
from matplotlib.figure import Figure

from reports.figures import style


@dataclass(frozen=True)
class PlannedFigure:
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


def draw(planned: PlannedFigure) -> Drawing | None:
    with style.drawing(planned.name):
        figure = planned.make(False)
        if figure is None:
            return None
        svg = style.to_svg(figure)
    wide = narrow = Markup()
    if planned.on_page:
        with style.drawing(f"{planned.name} narrow"):
            small = planned.make(True)
            assert small is not None
            narrow = Markup(style.themed(style.to_svg(small), planned.caption))
        wide = Markup(style.themed(svg, planned.caption))
    return Drawing(planned.name, planned.caption, wide, narrow, style.standalone(svg), figure)
