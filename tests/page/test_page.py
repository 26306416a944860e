"""The page in a browser: every view is driven as a user would, and compared with the API."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from served import SCRIPT, Server, backend_of, serving

from openrealm.runs.folders import WorkspaceFolder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: make browser")

QUESTION = "What is the capital of Norland?"
SENTENCE = "Aldera lies on the river Tamsin."
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WIDTHS = {"phone": 360, "desk": 1280}

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens a view; afterwards, that nothing broke, and nothing was asked of another host."""
    faults: list[str] = []
    contexts = []

    def open_view(server: Server, view: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        address = f"http://127.0.0.1:{server.port}"
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(f"a dialog: {dialog.message}"))
        page.on("request", lambda request: _same_host(request.url, address, faults))
        page.on("console", lambda message: _no_violation(message.text, faults))
        page.goto(f"{address}/{view}")
        return page

    yield open_view
    for context in contexts:
        context.close()
    assert not faults


def _same_host(url: str, address: str, faults: list[str]) -> None:
    if not url.startswith((address, "data:")):
        faults.append(f"asked of another host: {url}")


def _no_violation(text: str, faults: list[str]) -> None:
    if "Content Security Policy" in text or "Trusted" in text:
        faults.append(text)


def by(page: Page | Locator, name: str) -> Locator:
    return page.get_by_test_id(name)


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"\d\.\d{3}", text)]


# Ask ----------------------------------------------------------------------------------------------


def test_a_question_is_answered_with_the_answer_marked_in_its_place(
    visit: Open, served: Server
) -> None:
    expected = served.post("/api/ask", question=QUESTION)
    page = visit(served)
    by(page, "question").fill(QUESTION)
    by(page, "ask").click()
    by(page, "answer").first.wait_for()
    assert by(page, "answer").count() == len(expected["answers"])
    for shown, answer in zip(by(page, "answer").all(), expected["answers"], strict=True):
        assert shown.get_by_role("heading").inner_text() == answer["text"]
        [mark, *_] = shown.locator("mark").all_inner_texts()
        assert mark.casefold() == answer["text"].casefold()
        assert numbers(shown.inner_text())[0] == pytest.approx(answer["probability"], abs=1e-3)
    told = numbers(by(page, "no-answer").inner_text())[0]
    assert told == pytest.approx(expected["no_answer"], abs=1e-3)


def test_evidence_leads_to_its_place_in_the_document(visit: Open, served: Server) -> None:
    page = visit(served, f"#/ask?q={quote(QUESTION)}")
    answer = by(page, "answer").first.get_by_role("heading").inner_text()
    by(page, "document-link").first.click()
    by(page, "document-text").wait_for()
    assert "".join(by(page, "marked").all_inner_texts()).casefold() == answer.casefold()
    page.go_back()
    by(page, "answer").first.wait_for()
    assert by(page, "question").input_value() == QUESTION


def test_a_question_can_be_asked_and_followed_by_keyboard_alone(
    visit: Open, served: Server
) -> None:
    page = visit(served)
    by(page, "question").wait_for()
    page.keyboard.press("Tab")
    assert "Skip" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    by(page, "answer").first.wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Answers"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.testid") == "document-link":
            break
    page.keyboard.press("Enter")
    by(page, "document-title").wait_for()


def test_a_run_that_cannot_answer_says_how_to_teach_it_and_shows_what_it_found(
    visit: Open, unread: Server
) -> None:
    page = visit(unread, f"#/ask?q={quote(QUESTION)}")
    by(page, "hit").first.wait_for()
    assert "openrealm finetune" in by(page, "no-reader").inner_text()


@pytest.mark.parametrize(
    ("status", "code"), [(503, "queue_full"), (504, "timeout"), (422, "invalid"), (500, "internal")]
)
def test_an_error_is_told_and_the_question_can_be_asked_again(
    visit: Open, served: Server, status: int, code: str
) -> None:
    page = visit(served)
    body = json.dumps({"error": {"code": code, "message": "it went wrong", "field": None}})
    page.route(
        "**/api/ask",
        lambda route: route.fulfill(status=status, body=body, content_type="application/json"),
        times=1,
    )
    by(page, "question").fill(QUESTION)
    by(page, "ask").click()
    by(page, "error").wait_for()
    assert "it went wrong" in by(page, "error").inner_text().lower()
    by(page, "ask").click()
    by(page, "answer").first.wait_for()


def test_weights_that_are_being_loaded_are_waited_for(visit: Open, served: Server) -> None:
    page = visit(served)
    body = json.dumps({"error": {"code": "loading", "message": "in a moment", "field": None}})
    page.route(
        "**/api/ask",
        lambda route: route.fulfill(
            status=503, body=body, content_type="application/json", headers={"Retry-After": "1"}
        ),
        times=1,
    )
    by(page, "question").fill(QUESTION)
    by(page, "ask").click()
    by(page, "answer").first.wait_for()
    assert by(page, "error").count() == 0


# Look inside --------------------------------------------------------------------------------------


def filled(page: Page, word: int) -> None:
    """Writes the sentence, masks one of its words, and asks."""
    by(page, "sentence").fill(SENTENCE)
    by(page, "word").nth(word).click()
    by(page, "fill").click()
    by(page, "picture").first.wait_for()


def test_the_filled_area_of_the_picture_is_the_marginal(visit: Open, served: Server) -> None:
    masked = "Aldera lies on the river [MASK]."
    expected = served.post("/api/fill", text=masked, top=5)
    page = visit(served, "#/inside")
    filled(page, 5)
    field = _boxes(page, ".field-of")[0]
    fills, frames = _boxes(page, ".column-fill"), _boxes(page, ".column-frame")
    area = sum(width * height for width, height in fills) / (field[0] * field[1])
    best = expected["fillings"][0]
    assert area == pytest.approx(best["p_y"], abs=1e-3)
    widths = sorted(width / field[0] for width, _ in frames)
    assert widths == pytest.approx(sorted(c["p_z"] for c in expected["candidates"]), abs=1e-3)
    assert by(page, "filling").first.inner_text().splitlines()[0] == best["text"]


def _boxes(page: Page, selector: str) -> list[tuple[float, float]]:
    """Width and height of the rectangles of a picture, in its own units."""
    script = "all => all.map(one => [one.width.baseVal.value, one.height.baseVal.value])"
    found: list[list[float]] = page.locator(f"svg.square {selector}").evaluate_all(script)
    return [(width, height) for width, height in found]


def test_a_candidate_shows_its_chunk_and_its_utility(visit: Open, served: Server) -> None:
    expected = served.post("/api/fill", text="Aldera lies on the river [MASK].", top=5)
    page = visit(served, "#/inside")
    filled(page, 5)
    filling = expected["fillings"][0]
    for number, candidate in enumerate(expected["candidates"]):
        by(page, "column").nth(number).click()
        shown = by(page, "candidate").inner_text()
        if candidate["chunk"] is None:
            assert "null chunk" in shown.lower()
            continue
        assert candidate["chunk"]["text"][:40] in " ".join(shown.split())
        assert numbers(shown)[0] == pytest.approx(candidate["p_z"], abs=6e-4)
        told = re.search(r"([+−-]?\d+\.\d+) nats", shown)
        assert told is not None
        utility = math.log(filling["p_y_given_z"][number] / filling["p_y_given_z"][0])
        assert float(told[1].replace("−", "-")) == pytest.approx(utility, abs=0.011)


def test_words_are_masked_and_shown_again_by_keyboard(visit: Open, served: Server) -> None:
    page = visit(served, "#/inside")
    by(page, "sentence").fill(SENTENCE)
    word = by(page, "word").nth(5)
    word.focus()
    page.keyboard.press("Space")
    assert by(page, "word").nth(5).get_attribute("aria-pressed") == "true"
    assert "[MASK]" in by(page, "words").inner_text()
    page.keyboard.press("Space")
    assert by(page, "word").nth(5).get_attribute("aria-pressed") == "false"


def test_the_same_without_retrieval_stands_beside_it(visit: Open, served: Server) -> None:
    alone = served.post("/api/fill", text="Aldera lies on the river [MASK].", retrieval=False)
    page = visit(served, "#/inside")
    by(page, "without").check()
    filled(page, 5)
    lists = by(page, "fillings")
    assert lists.count() == 2
    first = by(lists.nth(1), "filling").first.inner_text()
    assert first.splitlines()[0] == alone["fillings"][0]["text"]


def test_two_stages_stand_side_by_side_for_the_same_filling(visit: Open, served: Server) -> None:
    page = visit(served, "#/inside")
    by(page, "compare").check()
    by(page, "stage-a").select_option("ict")
    by(page, "stage-b").select_option("realm")
    filled(page, 5)
    assert "ict" in by(page, "panel-a").inner_text()
    assert "realm" in by(page, "panel-b").inner_text()
    assert page.locator("svg.square").count() == 2
    chosen = page.locator(".filling input:checked")
    assert chosen.count() == 2


def test_what_the_mask_hides_is_shown_however_improbable(visit: Open, served: Server) -> None:
    page = visit(served, "#/inside")
    filled(page, 5)
    original = by(page, "filling").filter(has_text="original")
    assert original.inner_text().startswith("tamsin")
    original.locator("input").check()
    by(page, "picture").wait_for()
    assert "tamsin" in by(page, "candidates").inner_text()


def test_an_example_comes_from_the_corpus(visit: Open, served: Server) -> None:
    page = visit(served, "#/inside")
    by(page, "example").click()
    sync_api.expect(by(page, "sentence")).not_to_have_value("")
    said = by(page, "sentence").input_value()
    assert any(said in each.text for each in served.service.corpora.newest().documents())


def test_the_vertical_axis_can_be_stretched_and_the_link_keeps_it(
    visit: Open, served: Server
) -> None:
    page = visit(served, "#/inside")
    filled(page, 5)
    before = max(height for _, height in _boxes(page, ".column-fill"))
    by(page, "stretched").check()
    assert max(height for _, height in _boxes(page, ".column-fill")) > before
    page.reload()
    by(page, "picture").wait_for()
    assert by(page, "stretched").is_checked()


def test_as_many_candidates_are_read_as_are_asked_for(visit: Open, served: Server) -> None:
    page = visit(served, "#/inside")
    by(page, "k").fill("7")
    filled(page, 5)
    assert by(page, "column").count() == 7


# Corpus -------------------------------------------------------------------------------------------


def test_a_search_lists_the_chunks_that_the_api_finds(visit: Open, served: Server) -> None:
    expected = served.post("/api/search", text="ships on the river")
    page = visit(served, "#/corpus")
    by(page, "search-text").fill("ships on the river")
    by(page, "search").click()
    by(page, "hit").first.wait_for()
    for shown, hit in zip(by(page, "hit").all(), expected["hits"], strict=False):
        title = hit["chunk"]["title"] or hit["chunk"]["document_id"]
        assert title in shown.inner_text()


def test_scripts_in_documents_are_text(visit: Open, served: Server) -> None:
    """The fixture fails where one of them runs: it would open a dialog."""
    total = served.get("/api/documents")["total"]
    page = visit(served, f"#/corpus?offset={total - 4}")
    by(page, "document-entry").filter(has_text="alert").first.get_by_role("link").click()
    by(page, "document-text").wait_for()
    assert by(page, "document-title").inner_text() == SCRIPT
    assert SCRIPT in by(page, "document-text").inner_text()
    assert page.locator("main script, main img").count() == 0


def test_what_was_skipped_is_listed_with_its_reason(visit: Open, served: Server) -> None:
    [problem] = served.get("/api/corpus")["ingests"][0]["problems"]
    page = visit(served, "#/corpus")
    by(page, "problems").first.locator("summary").click()
    assert problem["reason"] in by(page, "problems").first.inner_text()


def test_characters_beyond_the_first_plane_do_not_shift_what_is_marked(
    visit: Open, served: Server
) -> None:
    text = served.get("/api/documents/astral")["text"]
    start = text.index("Tamsin")
    page = visit(served, f"#/corpus/document/astral?start={start}&stop={start + 6}")
    by(page, "marked").first.wait_for()
    assert "".join(by(page, "marked").all_inner_texts()) == "Tamsin"


def test_documents_are_listed_in_parts(visit: Open, large: Server) -> None:
    page = visit(large, "#/corpus")
    by(page, "document-entry").first.wait_for()
    assert by(page, "document-entry").count() == 50
    by(page, "next").click()
    by(page, "document-entry").filter(has_text="Document 59").wait_for()
    assert by(page, "document-entry").count() == 10
    by(page, "previous").click()
    by(page, "document-entry").filter(has_text="Document 49").wait_for()


def test_a_long_document_is_loaded_in_parts_around_the_place(visit: Open, large: Server) -> None:
    text = large.get("/api/documents/d0")["text"]
    start = text.index("Ship 2000 ")
    page = visit(large, f"#/corpus/document/d0?start={start}&stop={start + 9}")
    by(page, "marked").first.wait_for()
    assert "".join(by(page, "marked").all_inner_texts()) == "Ship 2000"
    shown = by(page, "document-text")
    assert "Ship 3599 " not in shown.inner_text() and "Ship 0 " not in shown.inner_text()
    for name, sign in (("load-more", "Ship 3599 "), ("load-before", "Ship 0 ")):
        while sign not in shown.inner_text():
            by(page, name).click()
            sync_api.expect(by(page, name)).to_have_attribute("aria-busy", "false")
    assert " ".join(shown.inner_text().split()) == " ".join(text.split())


# Runs ---------------------------------------------------------------------------------------------


def test_a_run_shows_its_figures_and_its_curves(visit: Open, served: Server) -> None:
    [run] = served.get("/api/runs")["runs"]
    page = visit(served, f"#/runs/{run['name']}")
    by(page, "chart-loss").wait_for()
    assert page.locator("[data-testid^=chart-]").count() >= 6
    told = by(page, "reports").inner_text()
    for report in run["reports"]:
        assert report["stage"] in told
        for name in ("probe/recall@1", "probe/recall@5"):
            if report.get(name):
                assert f"{report[name]:.3f}" in told


def test_curves_grow_while_the_training_goes_on(visit: Open, changing: tuple[Path, Server]) -> None:
    workspace, server = changing
    run = WorkspaceFolder(workspace).run()
    with run.locked():
        page = visit(server, f"#/runs/{run.name}")
        state = by(page, "live-state")
        sync_api.expect(state).to_contain_text("live")
        record = {"stage": "realm", "step": 777, "total_step": 123456, "train/loss": 1.5}
        with open(run.metrics_file, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        by(page, "chart-loss").locator("summary").click()
        sync_api.expect(by(page, "chart-loss")).to_contain_text(re.compile("123.?456"))
    sync_api.expect(state).to_contain_text("not in training")


# Everywhere ---------------------------------------------------------------------------------------


def test_a_workspace_without_a_run_says_what_to_type(
    visit: Open, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "corpus", tmp_path / "fresh notes" / "corpus")
    with serving(backend_of(tmp_path / "fresh notes"), ready=False, watch_s=0.2) as server:
        page = visit(server, "#/runs")
        page.get_by_text("openrealm pretrain 'fresh notes'").first.wait_for()
        page = visit(server, f"#/ask?q={quote(QUESTION)}")
        page.get_by_text("untrained").first.wait_for()
        page = visit(server, "#/corpus")
        by(page, "document-entry").first.wait_for()


def test_the_token_is_asked_for_once_and_a_wrong_one_again(visit: Open, odd: Path) -> None:
    with serving(backend_of(odd), token="a secret of some length") as server:
        page = visit(server, "#/runs")
        by(page, "token-input").fill("another one of some length")
        by(page, "token-submit").click()
        page.get_by_text("refused").first.wait_for()
        by(page, "token-input").fill("a secret of some length")
        page.keyboard.press("Enter")
        by(page, "run-entry").first.wait_for()
        page.reload()
        by(page, "run-entry").first.wait_for()
        assert by(page, "token-dialog").count() == 0


VIEWS = {
    "ask": (f"#/ask?q={quote(QUESTION)}", "answer"),
    "inside": ("#/inside?text=Aldera+lies+on+the+river+Tamsin.&mask=5&without=1", "picture"),
    "compare": (
        "#/inside?text=Aldera+lies+on+the+river+Tamsin.&mask=5&compare=1&stage=ict&stage2=realm",
        "panel-b",
    ),
    "corpus": ("#/corpus?q=ships", "hit"),
    "document": ("#/corpus/document/astral?start=4&stop=60", "marked"),
    "runs": ("#/runs", "run-entry"),
    "run": ("#/runs/run-001", "chart-loss"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_no_serious_accessibility_fault_is_found(
    visit: Open, served: Server, view: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    place, sign = VIEWS[view]
    page = visit(served, place, color_scheme=scheme, bypass_csp=True)
    by(page, sign).first.wait_for()
    found = axe.Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert not serious, [(v["id"], v["nodes"][0]["html"]) for v in serious]


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_a_phone(visit: Open, served: Server, view: str) -> None:
    place, sign = VIEWS[view]
    page = visit(served, place, viewport={"width": 360, "height": 740})
    by(page, sign).first.wait_for()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360


def test_the_theme_that_was_chosen_is_kept(visit: Open, served: Server) -> None:
    page = visit(served, color_scheme="light")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for _ in range(3):
        by(page, "theme").click()
        if page.evaluate("document.documentElement.dataset.theme") == "dark":
            break
    chosen = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert chosen != before
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == chosen


def test_paper_is_printed_on_as_on_paper_whatever_the_theme(visit: Open, served: Server) -> None:
    page = visit(served, color_scheme="light")
    ink = page.evaluate("getComputedStyle(document.body).color")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate("getComputedStyle(document.body).color") != ink
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == ink
