"""Tests of the page's files, by HTTP and byte by byte."""

from __future__ import annotations

from importlib.resources import files

import pytest
from served import Server

FOLDER = files("openrealm.server").joinpath("page")


def test_every_file_of_the_page_is_served_as_what_it_is(served: Server) -> None:
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
    for path in FOLDER.iterdir():
        kind = kinds.get(path.name.rpartition(".")[2])
        if kind is not None:
            response = served.client.get(f"/page/{path.name}")
            assert response.content == path.read_bytes()
            assert response.headers["content-type"] == f"{kind}; charset=utf-8"
            assert "default-src 'none'" in response.headers["content-security-policy"]
            assert "unsafe" not in response.headers["content-security-policy"]


def test_the_page_itself_is_at_the_root(served: Server) -> None:
    response = served.client.get("/")
    assert response.content == FOLDER.joinpath("index.html").read_bytes()
    head = served.client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == response.headers["etag"]


def test_a_file_that_a_browser_has_is_not_sent_again(served: Server) -> None:
    tag = served.client.get("/").headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}"):
        response = served.client.get("/", headers={"if-none-match": known})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
        assert response.headers["cache-control"] == "no-cache"
    assert served.client.get("/", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        b"/page/../__init__.py",
        b"/page/..%2f__init__.py",
        b"/page/%2e%2e/__init__.py",
        b"/page/%2e%2e%2f__init__.py",
        b"/page/..\\__init__.py",
        b"/page/..%5c__init__.py",
        b"/page/index.html%00.js",
        b"/page//etc/passwd",
        b"/page/%2fetc%2fpasswd",
        b"/page/....//....//etc/passwd",
        b"/page/",
        b"/page",
        b"/../../etc/passwd",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"//etc/passwd",
        b"file:///etc/passwd",
        b"http://elsewhere.example/etc/passwd",
        b"http://elsewhere.example/page/index.html",
        b"*",
        b"/api/documents/../../../../etc/passwd",
        b"/api/documents/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        b"/api/runs/%2e%2e/metrics",
        b"/api/runs/..%2f..%2f..%2fetc%2fpasswd/metrics",
        b"/api/runs/run-001/../../../qa.jsonl",
    ],
)
def test_no_path_leads_to_another_file(served: Server, target: bytes) -> None:
    host = f"127.0.0.1:{served.port}".encode()
    head = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
    answer = served.said(head)
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer
    assert b"root:" not in answer and b"import" not in answer
