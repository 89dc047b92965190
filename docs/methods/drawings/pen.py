"""Pen of the drawings: boxes, words, arrows and bars in one palette, written as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH = 720
PAPER, INK, NOTE, LINE = "#fbfaf6", "#22303c", "#5a6773", "#8b98a4"
TEAL, ORANGE = "#16697a", "#c9551f"
FILLS = {"grey": "#e7ebee", "teal": "#cfe5ea", "orange": "#fbdfcd", "white": "#ffffff"}
EDGES = {"grey": LINE, "teal": TEAL, "orange": ORANGE, "white": LINE}

_HEAD = '<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"

Point = tuple[float, float]


class Drawing:
    """A drawing of `WIDTH` pixels on a light ground, which dark pages leave as it is.

    Args:
        title: what it shows, for those who cannot see it.
        height: in pixels.
    """

    def __init__(self, title: str, height: int) -> None:
        self._parts: list[str] = []
        self._title, self._height = title, height

    def words(
        self, x: float, y: float, text: str, size: int = 14, side: str = "middle", colour: str = INK, bold: bool = False
    ) -> None:
        """Writes a line of words with its baseline at `y`; `side` is "start", "middle" or "end"."""
        weight = ' font-weight="bold"' if bold else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{side}" fill="{colour}"{weight}>'
            f"{escape(text)}</text>"
        )

    def note(self, x: float, y: float, text: str, side: str = "middle", colour: str = NOTE) -> None:
        """Writes a small line of words."""
        self.words(x, y, text, 13, side, colour)

    def box(
        self, x: float, y: float, width: float, height: float, *lines: str, fill: str = "grey", dashed: bool = False
    ) -> None:
        """Draws a box with lines of words in its middle, the first one larger than the others."""
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" fill="{FILLS[fill]}" '
            f'stroke="{EDGES[fill]}" stroke-width="1.4"{dashes}/>'
        )
        first = y + height / 2 + 5 - 17 * (len(lines) - 1) / 2
        for number, line in enumerate(lines):
            self.words(x + width / 2, first + 17 * number, line, 14 if number == 0 else 13)

    def path(self, *points: Point, colour: str = LINE, dashed: bool = False, arrow: bool = False) -> None:
        """Draws straight lines from point to point, with an arrow head at the end if wanted."""
        head = f' marker-end="url(#head{colour[1:]})"' if arrow else ""
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        corners = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(
            f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="1.8"{dashes}{head}/>'
        )

    def arrow(self, *points: Point, colour: str = LINE, dashed: bool = False) -> None:
        """Draws an arrow from point to point."""
        self.path(*points, colour=colour, dashed=dashed, arrow=True)

    def dot(self, x: float, y: float, radius: float = 4, colour: str = LINE, ring: bool = False) -> None:
        """Draws a dot, or a ring around one."""
        look = f'fill="none" stroke="{colour}" stroke-width="2"' if ring else f'fill="{colour}"'
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" {look}/>')

    def bars(
        self, x: float, floor: float, heights: Sequence[float], kept: int | None = None, width: float = 10
    ) -> None:
        """Draws bars that stand on `floor`; those after the first `kept` are orange and dashed."""
        for number, height in enumerate(heights):
            stays = kept is None or number < kept
            fill = "teal" if stays else "orange"
            self._parts.append(
                f'<rect x="{x + number * (width + 3):g}" y="{floor - height:g}" width="{width:g}" height="{height:g}" '
                f'fill="{FILLS[fill]}" stroke="{EDGES[fill]}"{"" if stays else _DASHES}/>'
            )

    def svg(self) -> str:
        """The text of the file."""
        heads = "".join(
            f'{_HEAD.format(name=f"head{colour[1:]}")}<path d="M0 0 L10 5 L0 10 z" fill="{colour}"/></marker>'
            for colour in (LINE, TEAL, ORANGE, INK)
        )
        body = "\n".join(self._parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self._height}" '
            f'viewBox="0 0 {WIDTH} {self._height}" font-family="{_FONT}" role="img">\n'
            f"<title>{escape(self._title)}</title>\n<defs>{heads}</defs>\n"
            f'<rect width="{WIDTH}" height="{self._height}" rx="8" fill="{PAPER}"/>\n{body}\n</svg>\n'
        )


_DASHES = ' stroke-dasharray="3 2"'
