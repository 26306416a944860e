"""The exceptions that openrealm raises on purpose; knows nothing else of the package.

    OpenRealmError
    ├── InputError               a document, question or text that the user gave cannot be used
    ├── ConfigError              a setting has an unknown name or a value out of range
    ├── CorpusError              a chunk store is missing, damaged, locked or of another version
    ├── SnapshotError            chunk embeddings are damaged or belong to another model or corpus
    ├── CheckpointError          saved weights or training state are damaged or do not fit
    ├── TrainingError            training cannot go on (a loss that is not finite, say)
    ├── StorageError             files behind a URL cannot be read or written
    ├── HubError                 the Hugging Face hub cannot be reached, or refuses
    ├── Stopped                  training was asked to stop and has saved everything
    └── MissingDependencyError   an optional library is not installed

Every message is one sentence for the user: what is wrong, the value, and what would be right.
"""

from __future__ import annotations

import shlex


def shell_command(*words: object) -> str:
    """A command to type: what a shell would take apart, such as a path with spaces, is quoted."""
    return shlex.join(map(str, words))


def in_one_line(error: BaseException) -> str:
    """What an exception says, on one line; its type's name where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class OpenRealmError(Exception):
    """Root of the tree: whoever catches this catches every error a user can cause."""


class InputError(OpenRealmError):
    """A document, question file or text that the user gave cannot be used."""


class ConfigError(OpenRealmError):
    """A setting has an unknown name or a value out of range."""


class CorpusError(OpenRealmError):
    """A chunk store is missing, damaged, locked or of another version."""


class SnapshotError(OpenRealmError):
    """Chunk embeddings are damaged or belong to another model or corpus."""


class CheckpointError(OpenRealmError):
    """Saved weights or training state are damaged or do not fit."""


class TrainingError(OpenRealmError):
    """Training cannot go on, for a reason that the message names.

    Attributes:
        lower: Settings of lower learning rates with which a resumption may get past it.
    """

    lower: tuple[str, ...] = ()


class StorageError(OpenRealmError):
    """Files behind a URL cannot be read or written, or are not those that were written."""


class HubError(OpenRealmError):
    """The Hugging Face hub cannot be reached, or refuses."""


class Stopped(OpenRealmError):
    """The user or the system asked for an end; everything has been saved.

    Attributes:
        by_system: It was SIGTERM, with which schedulers ask.
    """

    def __init__(self, message: str, *, by_system: bool = False) -> None:
        super().__init__(message)
        self.by_system = by_system


class MissingDependencyError(OpenRealmError):
    """An optional library is not installed; the message names the extra that brings it."""
