"""First weights: of a model that was exported from another run, or of any other start."""

from __future__ import annotations

from pathlib import Path

from openrealm.errors import ConfigError
from openrealm.interchange.model_folder import is_model_folder, open_model_folder
from openrealm.models.pretrained import Started, build_model, start_model
from openrealm.settings import Settings, read_settings
from openrealm.tokenizer import WordPiece


def begin(settings: Settings, tokenizer: WordPiece) -> Started:
    """The model that the settings' start gives, with its resolved shape.

    An exported model brings its whole shape, `model` in the settings; of other starts only the size
    of their BERT is taken.

    Args:
        settings: Of the run.
        tokenizer: Of the corpus.

    Raises:
        CheckpointError: The start cannot be loaded.
        ConfigError: Its vocabulary is not the corpus's, or it was fine-tuned.
        MissingDependencyError: ``minilm`` is not installed.
    """
    if is_model_folder(Path(settings.start)):
        return _begin_from(Path(settings.start), tokenizer)
    return start_model(
        settings.start,
        settings.model,
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        seed=settings.seed,
    )


def ancestors(start: str) -> list[str]:
    """Where an exported model's own first weights came from, the nearest first."""
    if not is_model_folder(Path(start)):
        return []
    record = open_model_folder(Path(start)).record
    return [str(record["start"]), *record.get("ancestors", ())]


def _begin_from(directory: Path, tokenizer: WordPiece) -> Started:
    folder = open_model_folder(directory)
    if folder.stage == "qa":
        raise ConfigError(
            f"start '{directory}' was fine-tuned on questions; export the run's weights before "
            "that: openrealm export WS --to openrealm --stage realm"
        )
    if folder.tokenizer().fingerprint != tokenizer.fingerprint:
        raise ConfigError(
            f"start '{directory}' has another vocabulary than the corpus; ingest with its own: "
            f"openrealm ingest --rechunk --set corpus.tokenizer={directory}"
        )
    config = read_settings(folder.settings_file).model
    model = build_model(config, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id, seed=0)
    folder.load_weights(model)
    return Started(config=config, model=model, has_masked_lm_head=True)
