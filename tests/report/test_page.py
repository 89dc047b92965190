"""The page of a run: what it shows, that it loads nothing, that no text of a result can break it, and its look."""

import base64
import dataclasses
import html.parser
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree

import pytest
import shown_results

from tfcompress.costs import Cost
from tfcompress.methods import Candidate
from tfcompress.report import page as page_module

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECTIONS = ["table", "history", "structure", "layers", "notes", "settings"]
EMPTY = {"meta", "img", "source", "br", "link"}


class Page(html.parser.HTMLParser):
    """A page that was read: its sections with their texts and tables, and all addresses in it."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sections, self.tables, self.texts, self.addresses = [], [], {}, {}, []
        self.tags, self.attributes = set(), set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        given = dict(attributes)
        self.addresses += [given[name] for name in ("href", "src", "srcset", "action", "data") if name in given]
        if tag == "section":
            self.sections.append(given["id"])
        if tag == "table":
            self.tables.setdefault(self.sections[-1], []).append([])
        if tag == "tr":
            self.tables[self.sections[-1]][-1].append([])
        if tag in ("td", "th"):
            self.tables[self.sections[-1]][-1][-1].append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.sections:
            self.texts[self.sections[-1]] = self.texts.get(self.sections[-1], "") + data
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[self.sections[-1]][-1][-1][-1] += data


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    shown_results.with_fields().report(path)
    return path


@pytest.fixture(scope="module")
def page(written):
    made = Page(written.read_text(encoding="utf-8"))
    assert made.open == []
    return made


def pictures(page):
    return [address for address in page.addresses if not address.startswith("#")]


def test_it_is_one_file_that_loads_nothing(written, page):
    assert [path.name for path in written.parent.iterdir()] == ["report.html"]
    assert {address for address in page.addresses if address.startswith("#")} == {f"#{name}" for name in SECTIONS}
    assert {"script", "link", "iframe", "object", "base"}.isdisjoint(page.tags)
    assert not re.search(r"url\(|@import", written.read_text(encoding="utf-8"))
    assert len(pictures(page)) == 4  # of history and structure, for a desk and for a phone
    for address in pictures(page):
        kind, content = address.split(",")
        assert kind == "data:image/svg+xml;base64"
        for element in xml.etree.ElementTree.fromstring(base64.b64decode(content)).iter():
            inside = [value for name, value in element.attrib.items() if name.endswith("href")]
            assert all(value.startswith("#") for value in inside)


def test_its_sections_and_tables(page):
    """MACs by hand: stem, blocks of 5 and 7, head; of the first block 2 of 5 channels stay."""
    before = 16 * 9 * (6 + 2 * 6 * (5 + 7)) + 96
    after = 16 * 9 * (6 + 2 * 6 * (2 + 7)) + 96
    assert page.sections == SECTIONS
    (table,) = page.tables["table"]
    assert table[:2] == [
        ["", "before", "after", "share"],
        ["MACs", f"{before:,}", f"{after:,}", f"{after / before:.1%}"],
    ]
    assert table[-3:] == [
        ["latency (ms)", "2", "1.5", "75.0%"],
        ["accuracy (test)", "0.9000", "0.7500", "-0.1500"],
        ["accuracy (validation)", "0.8750", "0.8125", "-0.0625"],
    ]
    (recovery,) = page.tables["history"]
    assert recovery == [
        ["", "loss", "accuracy", "val_accuracy", "kept"],
        ["1", "0.9", "0.5", "0.6", "0"],
        ["2", "0.4", "0.7", "0.75", "1"],
    ]
    (layers,) = page.tables["layers"]
    rows = {row[0]: row[1:] for row in layers}
    # 16 places of 3 x 3 kernels from 6 channels.
    macs = [f"{16 * 9 * 6 * channels:,}" for channels in (5, 2)]
    assert rows["block1_conv1"] == ["fewer channels", "5 → 2", " → ".join(macs), f"{54 * 5} → {54 * 2}", "Conv2D"]
    assert rows["block2_conv1"][:2] == ["kept", "7"]
    assert "validation: 24 images" in page.texts["notes"]
    assert "flops_budget=0.9,\n    seed=3,\n)" in page.texts["settings"]
    assert ["epochs", "2"] in page.tables["settings"][0]


def test_its_table_is_the_one_that_is_printed_with_further_metrics(tmp_path):
    result = shown_results.with_fields()
    before, after = (
        dataclasses.replace(side, metrics={"f1": f1}, on_device={"file_bytes": size})
        for side, f1, size in ((result.before, 0.5, 1500), (result.after, 0.25, 600))
    )
    result = dataclasses.replace(result, before=before, after=after)
    result.report(tmp_path / "page.html")
    (table,) = Page((tmp_path / "page.html").read_text(encoding="utf-8")).tables["table"]
    assert table[-1] == ["f1 (test)", "0.5000", "0.2500", "-0.2500"]
    assert table[3] == ["TFLite file (bytes)", "1,500", "600", "40.0%"]
    _, *printed = result.table().splitlines()
    assert [" ".join(line.split()) for line in printed] == [" ".join(row).strip() for row in table]


def test_it_can_be_read_on_a_phone(written):
    text = written.read_text(encoding="utf-8")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert text.count('<div class="scroll" tabindex="0"><table>') == text.count("<table>")


def test_no_text_breaks_it(tmp_path):
    evil = "$\\no$ </pre></section><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"
    result = shown_results.with_fields(
        notes=(evil,),
        metric=evil,
        method=evil,
        settings={evil: [evil]},
        history={"search": {}, "recover": {f"{evil} val_{evil}": [0.5], evil: [evil]}},
        control={"only": [evil]},
        candidates=[],
    )
    result.report(tmp_path / "evil.html")
    page = Page((tmp_path / "evil.html").read_text(encoding="utf-8"))
    assert (page.open, page.sections) == ([], SECTIONS)
    assert "script" not in page.tags and "onerror" not in page.attributes
    assert all(address.startswith(("#", "data:image/svg+xml;base64,")) for address in page.addresses)
    assert evil in page.texts["notes"]
    assert evil in page.tables["table"][0][-1][0]
    assert evil in [cell for row in page.tables["settings"][0] for cell in row]


def test_candidates_that_were_measured_are_shown(tmp_path):
    trail = shown_results.with_fields().trail
    made = tuple(
        Candidate(trail, Cost(macs, 50, 200), score, f"episode {macs}") for macs, score in ((700, 0.5), (300, 0.25))
    )
    result = shown_results.with_fields(candidates=made, layers_before=())
    result.report(tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.sections == ["table", "history", "structure", "candidates", "notes", "settings"]
    assert page.tables["candidates"] == [
        [
            ["", "MACs", "parameters", "score"],
            ["episode 300", "300", "50", "0.2500"],
            ["episode 700", "700", "50", "0.5000"],
        ]
    ]
    assert "Expected a result that knows the layers of its original" in page.texts["structure"]


def test_an_older_page_is_replaced_and_a_wrong_path_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "page_of", lambda result: f"<!doctype html>{result.seed}")
    result = shown_results.with_fields()
    (tmp_path / "a.html").write_text("old")
    result.report(str(tmp_path / "a.html"))
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "<!doctype html>3"
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    with pytest.raises(ValueError, match=r"^Expected `path` to be a name that ends with .html. .*result.plot"):
        result.report(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="existing folder"):
        result.report(tmp_path / "no" / "a.html")
    with pytest.raises(TypeError, match=r"^Expected `path`"):
        result.report(5)


def test_pictures_by_name(tmp_path):
    result = shown_results.with_fields()
    assert result.plot().get_suptitle().startswith("small: uniform, seed 3")
    for what in ("structure", "spectrum", "changes"):
        result.plot(what, tmp_path / f"{what}.png")
        assert (tmp_path / f"{what}.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"^Expected `what` to be one of .*'structure'.*Give a file as path="):
        result.plot("history.png")
    with pytest.raises(ValueError, match="Expected a search that trained students"):
        result.plot("students")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_in_a_browser_nothing_is_wider_than_a_phone(written, tmp_path):
    """A frame of 375 pixels holds the page; the browser says how wide it came out, and whether all pictures were drawn."""
    content = json.dumps(written.read_text(encoding="utf-8")).replace("</", "<\\/")
    (tmp_path / "frame.html").write_text(
        '<iframe id="phone" style="width:375px;height:800px;border:0"></iframe><pre id="said"></pre><script>\n'
        'const phone = document.getElementById("phone");\n'
        "phone.onload = () => {\n"
        "  const inside = phone.contentDocument, images = [...inside.images];\n"
        '  document.getElementById("said").textContent = JSON.stringify({\n'
        "    width: inside.documentElement.scrollWidth, room: inside.documentElement.clientWidth,\n"
        "    images: images.map(image => image.naturalWidth),\n"
        "    narrow: images.every(image => image.getBoundingClientRect().right <= 375),\n"
        "    table: inside.querySelector('#table table').getBoundingClientRect().right,\n"
        "  });\n};\n"
        f"phone.srcdoc = {content};\n</script>",
        encoding="utf-8",
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [BROWSER, *flags, "--virtual-time-budget=5000", "--dump-dom", (tmp_path / "frame.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    said = json.loads(re.search(r'<pre id="said">(.*?)</pre>', dom)[1])
    assert said["width"] == said["room"] <= 375  # less a scroll bar
    assert said["table"] <= said["room"]
    assert said["narrow"] and len(said["images"]) == 2 and min(said["images"]) > 300
