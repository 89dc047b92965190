"""The coverage sweep's rows as docs/coverage.md."""

import importlib.metadata
import os

TITLES = {
    "keras.applications": "keras.applications, at the smallest image each allows",
    "keras_hub": "KerasHub backbones, made small",
    "topology": "Topologies",
}
HEAD = "model | input | MACs | after | left | prunable | groups | analysis | rank | rebuild | masked = cut | cost | file | TFLite | left whole, and why"

INTRODUCTION = """# Every model that was tried

`python tests/end_to_end/coverage.py --out docs/coverage.md` makes this file; CI runs a part of it
(tests/end_to_end/test_coverage.py). Each model is made with random weights, random scales and running statistics, pruned
with `Uniform` to half its MACs (or to the share that its row states) and checked:

- *MACs*, *after*, *left*: of one sample, before and after (one multiply-add = 1 MAC), and what is left as a share. The
  topologies are so narrow that few widths lie between half and less;
- *prunable*: one minus the smallest share that can be reached, with one channel left of each group;
- *groups*: channel groups; *analysis*, *rank* and *rebuild*: milliseconds for graph, groups and costs; for the search of
  the ratio and the ranking of channels; for building the cut model;
- *masked = cut*: largest difference between the outputs of the cut model and of the original in which nothing reads the
  removed channels, relative to the largest output. At most 1e-5 passes (3e-2 in half precision);
- *cost*: whether the predicted cost of the plan is the counted cost of the cut model and that of an independent walk
  through it: MACs, parameters and bytes, to the digit;
- *file*: the same difference between the cut model and its .keras file, loaded again (at most 1e-6);
- *TFLite*: and its float32 TFLite file, run by LiteRT (at most 1e-4; 5e-2 in half precision);
- without a column: the sub-network of the working copy, by which RLAL, AMC and Random measure rewards, gives the outputs of the
  cut model; a row made with this check says so where it does not;
- *left whole, and why*: channels that cannot go, with the number of layers; the channels of inputs and outputs (such as
  the logits) are not named.
"""


def markdown(rows, wanted, python):
    """The whole file."""
    done = {f"{row['kind']}/{row['name']}" for row in rows}
    missing = [name for name in wanted if name not in done]
    lines = [INTRODUCTION, conditions(python), "", summary(rows, missing)]
    for kind, title in TITLES.items():
        of_kind = [row for row in rows if row["kind"] == kind]
        if of_kind:
            lines += ["", f"## {title}", "", f"| {HEAD} |", "|" + "---|" * (HEAD.count("|") + 1)]
            lines += [line(row) for row in of_kind]
    return "\n".join(lines) + "\n"


def conditions(python):
    """Versions and cores."""
    versions = [f"{name} {version(name)}" for name in ("tensorflow", "keras", "keras-hub", "ai-edge-litert")]
    cores = len(os.sched_getaffinity(0))
    return f"Python {python}, {', '.join(versions)}; {cores} cores that others use as well, so milliseconds are an upper limit."


def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def summary(rows, missing):
    """How many models are well, and which are not there."""
    good = [row for row in rows if not row["failures"]]
    text = f"{len(good)} of {len(rows)} models pass every check."
    if missing:
        text += f" Not run yet: {', '.join(missing)}."
    return text


def line(row):
    """One row of the table."""
    if "macs_before" not in row:
        return (
            f"| {row['name']} | "
            + " | " * (HEAD.count("|") - 2)
            + f" | **{'; '.join(row['failures'])}** |".replace("\n", " ")
        )
    notes = []
    if row["failures"]:
        notes.append(f"**{'; '.join(row['failures'])}**")
    if row["because"]:
        share = row["limit"] / row["macs_before"] if row["macs_before"] else 1
        notes.append(f"share asked for {share:.3f}: {row['because']}")
    notes += [row[key] for key in ("loaded", "tflite") if isinstance(row[key], str)]
    notes += [f"{reason} ({of(*count)})" for reason, count in row["whole"].items() if "put of the model" not in reason]
    cells = [
        row["name"],
        row["input"],
        f"{row['macs_before']:,}",
        f"{row['macs_after']:,}",
        f"{row['macs_after'] / row['macs_before']:.3f}" if row["macs_before"] else "-",
        f"{row['prunable']:.3f}" if row["macs_before"] else "-",
        str(row["groups"]),
        *(f"{row[key]:.0f}" for key in ("analysis_ms", "search_ms", "rebuild_ms")),
        f"{row['masked']:.1e}",
        "equal" if row["cost"] else "**differs**",
        *(_difference(row[key]) for key in ("loaded", "tflite")),
        "; ".join(notes) or "nothing",
    ]
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _difference(value):
    return (f"{value:.0e}" if value else "0") if isinstance(value, float) else "no"


def of(layers, channels):
    return f"{layers} layer{'s' * (layers != 1)}, {channels} channels"
