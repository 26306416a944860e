"""Tests of the way to the hub and back, with a stand-in for the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

from openrealm.errors import HubError
from openrealm.interchange.hub import HubApi, fetch_folder, push_folder


class Repo(str):
    """An address that also knows the repository's whole name, as the library returns it."""

    repo_id = "me/rivers"


class FakeApi:
    """Writes down what it is asked, and fails where told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.failure = failure

    def create_repo(self, repo_id: str, **options: Any) -> Repo:
        self.asked.append(("create_repo", {"repo_id": repo_id, **options}))
        return Repo("https://hub.example/me/rivers")

    def upload_folder(self, **options: Any) -> None:
        self.asked.append(("upload_folder", options))
        if self.failure is not None:
            raise self.failure


def test_a_folder_is_uploaded_to_a_private_repository_that_is_made_first(tmp_path: Path) -> None:
    api = FakeApi()
    assert isinstance(api, HubApi)
    address = push_folder(tmp_path, "rivers", api=api)
    assert address == "https://hub.example/me/rivers"
    assert [name for name, _ in api.asked] == ["create_repo", "upload_folder"]
    made, sent = (options for _, options in api.asked)
    assert made == {
        "repo_id": "rivers",
        "private": True,
        "repo_type": "model",
        "exist_ok": True,
    }
    assert (sent["repo_id"], sent["folder_path"]) == ("me/rivers", tmp_path)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (LocalTokenNotFoundError("no token\nmore lines"), "hf auth login"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set"),
        (HFValidationError("two slashes"), "no repository's name"),
        (ConnectionError("Name or service not known"), "cannot be reached"),
        (OSError(), "cannot be reached"),
    ],
)
def test_every_failure_is_one_sentence_that_says_what_to_do(
    tmp_path: Path, failure: Exception, told: str
) -> None:
    with pytest.raises(HubError, match=told) as caught:
        push_folder(tmp_path, "me/rivers", api=FakeApi(failure))
    assert "me/rivers" in str(caught.value) and "\n" not in str(caught.value)

    def download(*_: Any, **__: Any) -> str:
        raise failure

    with pytest.raises(HubError, match=told):
        fetch_folder("me/rivers", download=download)


def test_a_fault_of_our_own_is_not_blamed_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        push_folder(tmp_path, "me/rivers", api=FakeApi(ZeroDivisionError()))


def test_a_download_is_asked_for_by_name_revision_and_token(tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def download(repo_id: str, **options: Any) -> str:
        asked.update(options, repo_id=repo_id)
        return str(tmp_path)

    found = fetch_folder("me/rivers", revision="v1", token="secret", download=download)
    assert found == tmp_path
    assert asked == {"repo_id": "me/rivers", "revision": "v1", "token": "secret"}


def test_the_real_library_without_a_network_ends_in_a_sentence() -> None:
    with pytest.raises(HubError, match="me/no-such-rivers"):
        fetch_folder("me/no-such-rivers", download=snapshot_download)
    with pytest.raises(HubError, match="no repository's name"):
        fetch_folder("a/b/c")
