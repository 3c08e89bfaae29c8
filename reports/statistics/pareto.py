"""Which methods are not beaten on two things at once: short against long context, score against cost."""

from collections.abc import Mapping

from reports.statistics.intervals import Estimate

Value = Estimate | float
FRONT, POSSIBLE, DOMINATED = "front", "possible", "dominated"


def membership(points: Mapping[str, tuple[Value, Value]]) -> dict[str, str]:
    """For every label: "front" (no other is at least as good on both and better on one), "possible" (one is, but not
    for sure), or "dominated" (one is better on both with its whole intervals).

    Higher is better on both axes: give costs negated. A plain number, or an estimate without an interval, has no doubt
    of its own, so ties on it do not save a method.
    """
    places = {}
    for label, point in points.items():
        others = [other for name, other in points.items() if name != label]
        if not any(_beats(other, point) for other in others):
            places[label] = FRONT
        else:
            places[label] = DOMINATED if any(_surely_beats(other, point) for other in others) else POSSIBLE
    return places


def _beats(first: tuple[Value, Value], second: tuple[Value, Value]) -> bool:
    gaps = [_mean(a) - _mean(b) for a, b in zip(first, second, strict=True)]
    return min(gaps) >= 0 and max(gaps) > 0


def _surely_beats(first: tuple[Value, Value], second: tuple[Value, Value]) -> bool:
    gaps = [_end(a, low=True) - _end(b, low=False) for a, b in zip(first, second, strict=True)]
    return min(gaps) >= 0 and max(gaps) > 0


def _mean(value: Value) -> float:
    return value.mean if isinstance(value, Estimate) else float(value)


def _end(value: Value, low: bool) -> float:
    if not isinstance(value, Estimate):
        return float(value)
    end = value.low if low else value.high
    return value.mean if end is None else end
