"""A simulation as a picture: curves of members over time, as SVG."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

WIDTH: Final = 900
HEIGHT: Final = 420
EDGE: Final = 50
_COLOURS: Final = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")


def curves_of(report: Mapping[str, Any]) -> dict[str, list[tuple[int, int]]]:
    """Return the curves of one simulation: begun, done, failed."""
    return {name: [(point["Time"], point[name]) for point in report["Curve"]] for name in ("Begun", "Done", "Failed")}


def draw_curves(title: str, curves: Mapping[str, Sequence[tuple[int, int]]], members: int) -> str:
    """Return an SVG picture.

    Args:
        title: what it shows.
        curves: for each name, points of Unix seconds and members.
        members: the height of the picture.
    """
    times = [at for points in curves.values() for at, _ in points] or [0]
    first, span = min(times), max(1, max(times) - min(times))
    wide, high = WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{EDGE}" y="24" font-size="15">{escape(title)}</text>',
        f'<path d="M{EDGE} {EDGE}V{HEIGHT - EDGE}H{WIDTH - EDGE}" fill="none" stroke="#444"/>',
        f'<text x="4" y="{EDGE + 4}">{members}</text>',
        f'<text x="{WIDTH - EDGE - 40}" y="{HEIGHT - EDGE + 18}">{span / 3600:.1f} h</text>',
    ]
    for at, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[at % len(_COLOURS)]
        path = _steps([
            (EDGE + wide * (time - first) / span, HEIGHT - EDGE - high * number / max(1, members))
            for time, number in points
        ])  # fmt: skip
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{EDGE + 12}" y="{EDGE + 14 + 16 * at}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _steps(points: Sequence[tuple[float, float]]) -> str:
    if not points:
        return "M0 0"
    begin, *others = points
    return f"M{begin[0]:.1f} {begin[1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in others)
