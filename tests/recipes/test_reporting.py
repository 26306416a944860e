"""Tests of the report of a run: what is in it, and that the page stands by itself."""

from __future__ import annotations

import base64
import fcntl
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import commands
import numpy as np
import pytest
from tiny import documents
from trained import SHAPE, STEPS, train

from openrealm import recipes
from openrealm.errors import InputError, MissingDependencyError
from openrealm.progress import Silent
from openrealm.recipes.reporting import ReportFiles
from openrealm.report.probe_sentences import probed
from openrealm.runs.folders import WorkspaceFolder

pytest.importorskip("matplotlib")

HOSTILE = "<script>alert('1')</script>"
NAME = "it's \"<b>&x"  # a folder's name may be that
LONGER = [
    "warmup.steps=4",
    "realm.steps=12",
    "refresh.every=5",
    "loop.probe_every=3",
    "loop.log_every=2",
]
VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Elements, texts by element, and whether all that was opened is closed."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(t for tag, t in self.texts if tag != "style").split())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose documents and whose second run are named as if they were markup."""
    folder = tmp_path_factory.mktemp("hostile")
    lines = [
        {
            "id": d.id,
            "title": f"{d.title} {HOSTILE}",
            "text": f"{d.text} <img src=http://x/y> & so.",
        }
        for d in documents()
    ]
    (folder / "docs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    workspace = folder / "rivers"
    commands.ingest(workspace, sources=[folder / "docs.jsonl"], preset="tiny", assignments=SHAPE)
    train(workspace, changes=LONGER)
    assignments = [*SHAPE, *STEPS, *LONGER, "seed=3"]
    commands.pretrain(workspace, preset="tiny", start="scratch", assignments=assignments, run=NAME)
    return workspace


@pytest.fixture(scope="module")
def written(hostile: Path) -> ReportFiles:
    return recipes.report(hostile, compare=["run-001"], limit=3)


@pytest.fixture(scope="module")
def page(written: ReportFiles) -> Page:
    return Page(Path(written.page).read_text(encoding="utf-8"))


def test_it_lies_in_the_runs_folder_with_its_pictures(hostile: Path, written: ReportFiles) -> None:
    folder = WorkspaceFolder(hostile).run(NAME).directory / "report"
    assert written.page == str(folder / "report.html")
    names = [Path(path).name for path in written.pictures]
    assert names == ["curves.png", "compared.png", "staleness.png", "distribution.png"]
    assert sorted(p.name for p in folder.iterdir()) == sorted([*names, "report.html"])
    assert (written.run, written.compared, written.not_probed) == (NAME, ("run-001",), "")


def test_the_page_loads_nothing_runs_nothing_and_holds_its_pictures(
    written: ReportFiles, page: Page
) -> None:
    assert not {"script", "link", "iframe", "object", "base", "form"} & {
        t for t, _ in page.elements
    }
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#"))
        assert "url(" not in (attributes.get("style") or "")
    style = "".join(t for tag, t in page.texts if tag == "style")
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme: dark" in style
    inside = [base64.b64decode((i["src"] or "").partition(",")[2]) for i in page.all("img")]
    assert inside == [Path(path).read_bytes() for path in written.pictures]
    policy = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_page_can_be_read_by_all(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert [m["name"] for m in page.all("meta") if "name" in m] == ["viewport", "color-scheme"]
    assert len(page.all("h1")) == 1
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("figcaption")) == len(page.all("figure"))
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    anchors = {a["href"] for a in page.all("a")}
    assert anchors == {f"#{s['id']}" for s in page.all("section")}
    assert len(anchors) == 7


def test_texts_of_the_corpus_and_names_of_runs_are_text(written: ReportFiles, page: Page) -> None:
    assert HOSTILE in page.text
    assert f"Run {NAME} of rivers" in page.text
    raw = Path(written.page).read_text(encoding="utf-8")
    assert "<script" not in raw and "<img src=http" not in raw and "<b>" not in raw


def test_figures_are_those_of_the_record_and_stand_in_their_intervals(
    hostile: Path, page: Page
) -> None:
    record = WorkspaceFolder(hostile).run(NAME).read_record()
    for report in record["stage_reports"]:
        for name, (low, high) in record["stage_intervals"][report["stage"]].items():
            assert low - 1e-9 <= report[name] <= high + 1e-9
            assert f"{report[name]:.3f}[{low:.3f}, {high:.3f}]" in page.text
    asked = int(record["stage_reports"][-1]["probe/queries"])
    assert f"The probe asks {asked} sentences" in page.text
    assert "so few that its intervals are too narrow" in page.text


def test_examples_are_masked_sentences_with_their_candidates(page: Page) -> None:
    articles = page.all("article")
    assert len(articles) == 3  # --limit 3: two of highest utility, one of lowest
    assert page.text.count("Masked: ") == 3
    assert page.text.count("[MASK]") >= 3
    assert "null chunk" in page.text
    widths = [
        d["style"] or "" for d in page.all("div") if (d.get("style") or "").startswith("flex")
    ]
    shares = [float(re.findall(r"flex:([\d.]+)", width)[0]) for width in widths]
    assert sum(shares) == pytest.approx(3.0, abs=1e-3)  # p(z|x) of each sentence sums to 1


def test_settings_that_differ_stand_side_by_side(page: Page) -> None:
    rows = page.text.partition("Settings that differ between the runs.")[2]
    rows = rows.partition("settings.toml")[0]
    assert "".join(rows.split()) == f"setting{''.join(NAME.split())}run-001seed30"


def test_provenance_names_what_made_the_run(hostile: Path, page: Page) -> None:
    record = WorkspaceFolder(hostile).run(NAME).read_record()
    for name in ("corpus", "tokenizer", "torch", "python"):
        assert record[name] in page.text
    assert "realm, its end, step 12" in page.text


def test_utility_in_the_report_is_that_of_the_probe(hostile: Path) -> None:
    """The same weights, sentences and candidates as the figures after the last stage."""
    run = WorkspaceFolder(hostile).run(NAME)
    found = probed(WorkspaceFolder(hostile), run, limit=None, num_examples=5, progress=Silent())
    last = run.read_record()["stage_reports"][-1]
    assert found.num == last["probe/queries"]
    assert found.utility.mean() == pytest.approx(last["probe/utility"], rel=1e-4)
    assert found.p_null.mean() == pytest.approx(last["probe/p_null"], rel=1e-4)
    examples = [*found.best, *found.worst]
    best, worst = ([e.utility for e in side] for side in (found.best, found.worst))
    assert best == sorted(best, reverse=True)
    assert worst == sorted(worst)
    assert min(best) >= max(worst)
    assert len(examples) == found.num
    for example in examples:
        ratio = np.log(example.p_y) - np.log(example.p_y_without)
        assert ratio == pytest.approx(example.utility, rel=1e-6)
        assert example.candidates[0].excerpt is None
        assert sum(c.p_z for c in example.candidates) == pytest.approx(1.0)
        # In the texts' own spelling, which the vocabulary does not have.
        assert example.sentence.marked[0].isupper() or example.sentence.marked.isdigit()
        for candidate in example.candidates[1:]:
            assert candidate.excerpt is not None
            if candidate.excerpt.marked:
                assert candidate.excerpt.marked.lower() == example.sentence.marked.lower()


def test_a_run_of_an_earlier_version_shows_its_means_and_says_so(
    hostile: Path, tmp_path: Path
) -> None:
    run = WorkspaceFolder(hostile).run("run-001")
    record = run.read_record()
    old = {name: value for name, value in record.items() if name != "stage_intervals"}
    run.write_record(old)
    try:
        written = recipes.report(hostile, run="run-001", to=tmp_path, limit=2)
    finally:
        run.write_record(record)
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert written.page == str(tmp_path / "report.html")
    assert "No intervals were kept of start, ict, warmup, realm" in text
    assert f"{record['stage_reports'][-1]['probe/utility']:.3f}" in text


def test_a_run_with_plain_stages_alone_is_told_as_far_as_it_went(
    hostile: Path, tmp_path: Path
) -> None:
    name = train(hostile, changes=["stages=['ict']"])
    written = recipes.report(hostile, run=name, to=tmp_path)
    shutil.rmtree(WorkspaceFolder(hostile).run(name).directory)
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert written.not_probed == "the run has no weights of warm-up or joint training yet"
    assert f"Not measured: {written.not_probed}." in text
    assert "Not measured: no index was swapped" in text
    assert [Path(path).name for path in written.pictures] == ["curves.png"]


def test_a_run_in_training_is_reported_on_and_its_snapshots_left_alone(
    hostile: Path, tmp_path: Path
) -> None:
    run = WorkspaceFolder(hostile).run("run-001")
    before = sorted(path.name for path in run.snapshots.iterdir())
    newest = run.snapshots / before[-1]
    newest.rename(tmp_path / "away")  # the weights' own snapshot is not there
    try:
        with open(run.directory / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            recipes.report(hostile, run="run-001", to=tmp_path, limit=2)
        assert sorted(path.name for path in run.snapshots.iterdir()) == before[:-1]
    finally:
        (tmp_path / "away").rename(newest)
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "A process is training in it now." in text
    assert "candidates were proposed by a snapshot of step" in text


def test_sentences_that_cannot_be_asked_leave_the_rest_of_the_report(
    hostile: Path, tmp_path: Path
) -> None:
    run = WorkspaceFolder(hostile).run("run-001")
    record = run.read_record()
    run.write_record({**record, "tokenizer": "another"})
    try:
        written = recipes.report(hostile, run="run-001", to=tmp_path)
    finally:
        run.write_record(record)
    assert "another vocabulary" in written.not_probed
    assert "curves.png" in [Path(path).name for path in written.pictures]


def test_what_cannot_be_reported_is_refused_in_a_sentence(hostile: Path) -> None:
    with pytest.raises(InputError, match="compared with itself"):
        recipes.report(hostile, run="run-001", compare=["run-001"])
    with pytest.raises(InputError, match="has no run 'nothing'"):
        recipes.report(hostile, compare=["nothing"])


def test_a_missing_matplotlib_is_named_before_anything_is_asked(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"openrealm\[plots\]"):
        recipes.report(hostile, to=tmp_path / "none")
    assert not (tmp_path / "none").exists()
