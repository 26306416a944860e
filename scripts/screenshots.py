r"""Pictures of the page for the README and the docs, from a workspace that `make demo` made.

    .venv/bin/python scripts/screenshots.py demo --to docs/images

Serves the workspace, drives a Chromium that is installed already, and writes ``page-*.png``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUESTION = "Who invented the reflecting telescope?"
SENTENCE = "Thimphu is the capital of Bhutan ."
WIDTH, PHONE = 1120, 390


@contextmanager
def served(workspace: Path) -> Iterator[str]:
    """The address of a server of the workspace."""
    command = [sys.executable, "-m", "openrealm", "serve", str(workspace), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = next(filter(None, (re.search(r"http://\S+", line) for line in process.stderr)))
        yield found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def ask(page: Page) -> None:
    """A question and its answers."""
    page.goto(page.url.partition("#")[0] + f"#/ask?q={quote(QUESTION)}")
    page.get_by_test_id("answer").first.wait_for()


def inside(page: Page) -> None:
    """A masked sentence, with a candidate chosen."""
    page.goto(page.url.partition("#")[0] + "#/inside")
    page.get_by_test_id("sentence").fill(SENTENCE)
    page.get_by_test_id("word").nth(5).click()
    page.get_by_test_id("fill").click()
    page.get_by_test_id("picture").wait_for()
    page.get_by_test_id("column").nth(1).click()
    page.evaluate("scrollTo(0, 0)")


def compare(page: Page) -> None:
    """The same sentence before and after joint training."""
    page.goto(page.url.partition("#")[0] + "#/inside")
    page.get_by_test_id("sentence").fill(SENTENCE)
    page.get_by_test_id("word").nth(5).click()
    page.get_by_test_id("compare").check()
    page.get_by_test_id("stage-a").select_option("warmup")
    page.get_by_test_id("stage-b").select_option("realm")
    page.get_by_test_id("fill").click()
    page.get_by_test_id("picture").nth(1).wait_for()
    page.evaluate("scrollTo(0, 0)")


def corpus(page: Page) -> None:
    """A search over the corpus."""
    page.goto(page.url.partition("#")[0] + "#/corpus?q=" + quote("ships on the longest river"))
    page.get_by_test_id("hit").first.wait_for()


def runs(page: Page) -> None:
    """The curves of a run."""
    page.goto(page.url.partition("#")[0] + "#/runs")
    page.get_by_test_id("run-entry").first.get_by_role("link").first.click()
    page.get_by_test_id("chart-loss").wait_for()
    page.get_by_test_id("chart-loss").scroll_into_view_if_needed()


VIEWS: dict[str, tuple[Callable[[Page], None], int]] = {
    "ask": (ask, 900),
    "inside": (inside, 1200),
    "compare": (compare, 1700),
    "corpus": (corpus, 900),
    "runs": (runs, 1000),
}


def main() -> None:
    """Writes a picture of each view, and of one in the dark on a phone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    arguments = parser.parse_args()
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        raise SystemExit("no Chromium is installed: make browser")
    with served(arguments.workspace) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for name, (show, height) in VIEWS.items():
            page = browser.new_page(viewport={"width": WIDTH, "height": height})
            page.goto(address)
            show(page)
            page.screenshot(path=arguments.to / f"page-{name}.png")
        page = browser.new_page(viewport={"width": PHONE, "height": 1300}, color_scheme="dark")
        page.goto(address)
        inside(page)
        page.evaluate("scrollTo(0, 320)")  # past the head
        page.screenshot(path=arguments.to / "page-phone.png")
        browser.close()


if __name__ == "__main__":
    main()
