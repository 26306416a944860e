"""Folders to the Hugging Face hub and back; knows nothing of what is in them.

Every way in which the hub can fail is a `HubError` of one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from openrealm.errors import HubError

Download = Callable[..., Any]


@runtime_checkable
class HubApi(Protocol):
    """The two methods of `huggingface_hub.HfApi` that are used here."""

    def create_repo(
        self, repo_id: str, *, private: bool | None, repo_type: str | None, exist_ok: bool
    ) -> Any:
        """Makes a repository where there is none."""

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, repo_type: str | None, commit_message: str
    ) -> Any:
        """Uploads all files of a folder as one commit."""


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    private: bool = True,
    repo_type: str = "model",
    message: str = "openrealm export",
    token: str | None = None,
    api: HubApi | None = None,
) -> str:
    """Uploads a folder and returns the repository's address.

    Args:
        folder: What to upload.
        repo_id: ``name`` or ``owner/name``; made if there is none.
        private: Whether a repository that is made here is private; one that exists stays as it is.
        repo_type: ``model`` or ``dataset``.
        message: Of the commit.
        token: Access token; by default the one that the hub's own tools use (``HF_TOKEN``, or what
            ``hf auth login`` has stored).
        api: What talks to the hub; `huggingface_hub.HfApi` by default.

    Raises:
        HubError: The hub cannot be reached, or refuses.
    """
    with failures_told(f"'{folder}' was not uploaded to '{repo_id}'"):
        if api is None:
            from huggingface_hub import HfApi

            api = HfApi(token=token, library_name="openrealm")
        made = api.create_repo(repo_id, private=private, repo_type=repo_type, exist_ok=True)
        api.upload_folder(
            repo_id=getattr(made, "repo_id", repo_id),  # with the owner, where none was given
            folder_path=folder,
            repo_type=repo_type,
            commit_message=message,
        )
    return str(made)


def fetch_folder(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    download: Download | None = None,
) -> Path:
    """A local folder with a repository's files, downloaded once.

    Args:
        repo_id: ``owner/name``.
        revision: Branch, tag or commit; the main branch by default.
        token: Access token, as for `push_folder`.
        download: What downloads; `huggingface_hub.snapshot_download` by default.

    Raises:
        HubError: The hub cannot be reached, or has no such repository.
    """
    with failures_told(f"there is no folder '{repo_id}', and the hub did not give it"):
        if download is None:
            from huggingface_hub import snapshot_download

            download = snapshot_download
        return Path(download(repo_id, revision=revision, token=token))


@contextmanager
def failures_told(what: str) -> Iterator[None]:
    """Turns every failure of the hub into a `HubError` that begins with ``what``."""
    from huggingface_hub import errors

    # The root of what its HTTP library raises, whichever library that is.
    transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    try:
        yield
    # OSError: a missing token or file, and no connection at all.
    except (transport, OSError, errors.HFValidationError) as error:
        raise HubError(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    first = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, RepositoryNotFoundError):
        return "it has no such repository, or none that you may see without hf auth login"
    if isinstance(error, LocalTokenNotFoundError) or status == 401:
        return "the hub wants an access token; run hf auth login, or set HF_TOKEN"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to use the hub"
    if isinstance(error, HFValidationError):
        return f"that is no repository's name ({first})"
    if isinstance(error, LocalEntryNotFoundError):
        return "it cannot be reached, and nothing was downloaded before; check the connection"
    if isinstance(error, HfHubHTTPError) and status is not None:
        return f"it answered with status {status} ({first})"
    return f"it cannot be reached ({first or type(error).__name__}); check the connection"
