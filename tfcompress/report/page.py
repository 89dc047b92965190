"""A run as one HTML page that contains everything it shows: it loads nothing, and can be read on a phone."""

from __future__ import annotations

import base64
import html
import io
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tfcompress import expect
from tfcompress.manifest import enlist
from tfcompress.report.call import call_of
from tfcompress.report.comparison import title_of
from tfcompress.report.history import draw_history
from tfcompress.report.layer_plot import draw_structure
from tfcompress.report.layers import KEPT, LayerChange, layer_changes
from tfcompress.report.page_style import STYLE
from tfcompress.report.plots import load_matplotlib, plain_text
from tfcompress.report.result_table import rows_of, scores_of
from tfcompress.report.spectrum import NARROWED, draw_spectrum
from tfcompress.report.stage_table import draw_stages, stage_rows
from tfcompress.report.table import html_table

__all__ = ["page_of", "write_page"]

_WIDE, _NARROW = 8.0, 4.4  # inches of a picture on a desk, and on a phone
_FEW = 60  # rows of a table that is shown at once
_SHOWN = 60  # characters of a value
_Section = tuple[str, str, str]  # id, title, content


def write_page(result: Any, path: str | os.PathLike[str]) -> pathlib.Path:
    """Writes the page of a run beside its place and renames it; in the folder of a saved result it is part of that.

    Args:
        result: a `Result`, which may be a loaded one.
        path: the file to write: a name that ends with .html, in a folder that exists.

    Returns:
        The path.

    Raises:
        TypeError, ValueError: an invalid path.
        FileNotFoundError: the folder does not exist.
    """
    whole: pathlib.Path = expect.path("path", path, "the path of a page such as 'report.html'")
    if whole.suffix.lower() not in (".html", ".htm"):
        expect.refuse("path", "a name that ends with .html", path, "A picture is drawn by result.plot(path=...).")
    if not whole.parent.is_dir():
        raise FileNotFoundError(
            f"Expected a file in an existing folder. Received: {str(path)!r}. Make the folder first."
        )
    part = whole.with_name(f"part.{whole.name}")
    part.write_text(page_of(result), encoding="utf-8")
    part.replace(whole)
    enlist(whole)
    return whole


def page_of(result: Any) -> str:
    """Returns the page as text."""
    name = f"{result.model.name}, compressed by {result.method}"
    rows = rows_of(result.before, result.after, result.metric)
    sections = [
        ("table", "Before and after", _cards(result) + _scrolled(html_table(rows))),
        *_stages(result),
        ("history", "History", _picture("Metric over search and recovery", draw_history, result) + _logs(result)),
        *_layer_sections(result),
        *_candidates(result),
        ("notes", "Notes", _list(result.notes)),
        ("settings", "Settings to repeat the run", _settings(result)),
    ]
    links = "".join(f'<a href="#{key}">{html.escape(title)}</a>' for key, title, _ in sections)
    body = "\n".join(
        f'<section id="{key}">\n<h2>{html.escape(title)}</h2>\n{content}\n</section>'
        for key, title, content in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(name)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{html.escape(name)}</h1>
<p>{html.escape(_sentence(result))}</p>
<nav>{links}</nav>
</header>
<main>
{body}
</main>
<footer>Written by tfcompress.</footer>
</body>
</html>
"""


def _sentence(result: Any) -> str:
    limits = ", ".join(f"{title_of(metric)} at most {_limit(limit)}" for metric, limit in result.budget.items())
    return f"Seed {result.seed}. Budget: {limits or 'none'}."


def _limit(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:.4g} of the original"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _cards(result: Any) -> str:
    """Returns the most important figures as HTML."""
    before, after = result.before, result.after
    cards = [
        (unit, f"{last / first:.0%}", f"{first:,} → {last:,}")
        for unit, first, last in (
            ("of the MACs", before.macs, after.macs),
            ("of the parameters", before.params, after.params),
        )
        if first
    ]
    for split, first, last in list(scores_of(before, after))[:1]:
        cards.append((f"{result.metric} ({split})", f"{last:.4g}", f"{first:.4g} before"))
    shown = "".join(
        f"<div><strong>{html.escape(value)}</strong><span>{html.escape(unit)}</span><small>{html.escape(more)}</small></div>"
        for unit, value, more in cards
    )
    return f'<div class="cards">{shown}</div>\n'


def _picture(words: str, draw: Callable[..., Any], result: Any) -> str:
    """Returns a picture in two widths, of which the browser uses the one that fits; text if matplotlib is missing."""
    try:
        load_matplotlib()
    except ImportError as error:
        return f"<p>{html.escape(f'{words}: no picture. {error}')}</p>\n"
    with plain_text():
        wide, narrow = (_data_of(draw(result, width=width)) for width in (_WIDE, _NARROW))
    return (
        f'<figure><picture><source media="(max-width: 640px)" srcset="{narrow}">'
        f'<img src="{wide}" alt="{html.escape(words)}"></picture></figure>\n'
    )


def _data_of(figure: Any) -> str:
    """Returns a figure as a data URL that contains an SVG picture."""
    content = io.BytesIO()
    with load_matplotlib().rc_context({"svg.fonttype": "path", "svg.hashsalt": "tfcompress"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}"


def _layer_sections(result: Any) -> list[_Section]:
    try:
        changes = layer_changes(result)
    except ValueError as error:
        return [("structure", "Structure", f"<p>{html.escape(str(error))}</p>")]
    rows: list[tuple[str, ...]] = [("layer", "change", "channels", "MACs", "parameters", "class")]
    rows += [_layer_row(change) for change in changes if _is_listed(change)]
    table = _folded("layers", len(rows) - 1, _scrolled(html_table(rows)))
    return [
        ("structure", "Structure", _picture("Channels kept by layer, before and after", draw_structure, result)),
        ("layers", "Layer by layer", table),
    ]


def _is_listed(change: LayerChange) -> bool:
    """Whether a layer costs something, or the plan changes it itself."""
    return change.change not in (KEPT, NARROWED) or any(map(any, _sums(change)))


def _sums(change: LayerChange) -> list[tuple[int, int]]:
    return [change.sums(name) for name in ("macs", "params")]


def _layer_row(change: LayerChange) -> tuple[str, ...]:
    numbers = [change.channels, *_sums(change)]
    said = f"{change.change}: {change.by}" if change.by else change.change
    return change.name, said, *(_pair(*pair) for pair in numbers), change.kind


def _pair(before: int | None, after: int | None) -> str:
    first, last = (_number(value) for value in (before, after))
    return first if first == last else f"{first} → {last}"


def _candidates(result: Any) -> list[_Section]:
    """Returns the section on the answers of a search that measured several."""
    scored = [candidate for candidate in result.candidates if candidate.score is not None]
    if len(scored) < 2:
        return []
    rows = [("", "MACs", "parameters", "score")]
    ordered = sorted(scored, key=lambda candidate: candidate.cost.macs)
    rows += [(c.origin or "-", f"{c.cost.macs:,}", f"{c.cost.params:,}", f"{c.score:.4f}") for c in ordered]
    picture = _picture("Candidates of the search", lambda of, width: draw_spectrum(of, width=width), result)
    return [("candidates", "Candidates of the search", picture + _scrolled(html_table(rows)))]


def _stages(result: Any) -> list[_Section]:
    """Returns the section on the stages of a flow."""
    if not result.stages:
        return []
    picture = _picture("Metric and costs after each stage", lambda of, width: draw_stages(of, width=width), result)
    return [("stages", "Stages", picture + _scrolled(html_table(stage_rows(result))))]


def _logs(result: Any) -> str:
    """Returns the numbers of the history, a table for each phase."""
    tables = []
    for part in ("search", "recover"):
        phases: dict[str, dict[str, Sequence[Any]]] = {}
        for name, values in result.history.get(part, {}).items():
            phase, log = _phase_of(name)
            phases.setdefault(phase, {})[log] = values
        for phase, logs in phases.items():
            count = max(map(len, logs.values()))
            if count:
                title = " ".join(filter(None, ({"search": "search", "recover": "recovery"}[part], phase)))
                rows = [("", *logs), *((str(i + 1), *_values(logs, i)) for i in range(count))]
                tables.append(f"<h3>{html.escape(title)}</h3>\n{_scrolled(html_table(rows))}")
    return _folded("all numbers", len(tables), "\n".join(tables), few=0) if tables else ""


def _phase_of(name: str) -> tuple[str, str]:
    """Returns the phase at the beginning of a log's name, and the rest of it."""
    phase, colon, log = name.partition(": ")
    if colon:
        return phase, log
    phase, _, log = name.rpartition(" ")
    return phase, log


def _values(logs: Mapping[str, Sequence[Any]], place: int) -> list[str]:
    values = [column[place] if place < len(column) else None for column in logs.values()]
    return [
        "" if value is None else _cut(_number(value) if isinstance(value, (int, float)) else str(value))
        for value in values
    ]


def _settings(result: Any) -> str:
    rows = [("setting", "value"), *((name, _cut(repr(value), 4 * _SHOWN)) for name, value in result.settings.items())]
    every = _folded("all settings of the method", len(rows) - 1, _scrolled(html_table(rows)), few=0)
    return f'<pre tabindex="0"><code>{html.escape(call_of(result))}</code></pre>\n{every}'


def _list(texts: Iterable[str]) -> str:
    items = "\n".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f"<ul>\n{items}\n</ul>" if items else "<p>None.</p>"


def _scrolled(content: str) -> str:
    return f'<div class="scroll" tabindex="0">{content}</div>\n'


def _folded(title: str, count: int, content: str, few: int = _FEW) -> str:
    """Returns a part that can be folded; it is open if it is short."""
    opened = " open" if count <= few else ""
    return f"<details{opened}><summary>{html.escape(title)} ({count})</summary>\n{content}</details>"


def _cut(text: str, room: int = _SHOWN) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"
