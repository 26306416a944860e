"""The start as it is: what searches and fills where no run of the workspace can.

The start is that of the preset `adapt`: a sentence encoder, and words in common with the weight
that the preset gives them. Only its embeddings of the corpus are kept, in the workspace's cache;
its weights are made again, and nothing of it counts as a run.
"""

from __future__ import annotations

from openrealm.corpus.store import ChunkStore
from openrealm.errors import ConfigError, MissingDependencyError, shell_command
from openrealm.models.starts import MINILM, minilm_directory
from openrealm.runs.checkpoints import Checkpoint, Position
from openrealm.runs.devices import pick_device
from openrealm.runs.first_weights import Beginning, first_model, settings_for
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import START, LoadedModel
from openrealm.runs.parts import make_encoder
from openrealm.settings import Settings
from openrealm.tokenizer import WordPiece, agree

PRESET = "adapt"


def untrained_settings(corpus: ChunkStore) -> Settings:
    """The settings of the start over a corpus.

    Raises:
        ConfigError: The corpus has another vocabulary than the start, or chunks that are too long.
        MissingDependencyError: The start is not installed.
    """
    settings = settings_for(
        None, preset=PRESET, config=None, assignments=(), chunking=corpus.chunking
    )
    assert settings.start == MINILM
    if not agree(WordPiece.load(minilm_directory()), corpus.tokenizer):
        command = shell_command(
            "openrealm", "pretrain", corpus.directory.parent, "--preset", "tiny"
        )
        raise ConfigError(
            "the corpus has a vocabulary of its own, which a model has to learn first: " + command
        )
    return settings


def why_untrained_fails(corpus: ChunkStore) -> str | None:
    """Why the start cannot be used over a corpus; None where it can."""
    try:
        untrained_settings(corpus)
    except (ConfigError, MissingDependencyError) as error:
        return str(error)
    return None


def load_untrained(workspace: WorkspaceFolder, corpus: ChunkStore) -> LoadedModel:
    """The model that the start makes of a corpus.

    Raises:
        ConfigError: The corpus has another vocabulary than the start, or chunks that are too long.
        MissingDependencyError: The start is not installed.
    """
    settings = untrained_settings(corpus)
    model = first_model(Beginning(settings, saved=None), corpus=corpus, texts=corpus)
    model.to(pick_device(settings))
    # Not among the runs: only its snapshots are ever written.
    folder = RunFolder(workspace.cache / START)
    folder.directory.mkdir(parents=True, exist_ok=True)
    return LoadedModel(
        workspace=workspace,
        run=folder,
        settings=settings,
        corpus=corpus,
        model=model,
        encoder=make_encoder(settings, corpus, model.embedder),
        checkpoint=Checkpoint(directory=folder.directory, position=Position.without_steps(START)),
    )
