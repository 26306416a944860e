"""The `export` recipe: a run in the formats of other programs, as a folder with a model card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openrealm
from openrealm.errors import ConfigError, HubError, InputError, shell_command
from openrealm.files import staged_directory
from openrealm.interchange.card import CardFacts, model_card, repo_type
from openrealm.interchange.hub import push_folder
from openrealm.interchange.hugging_face import write_hf_realm
from openrealm.interchange.hugging_face_names import EMBEDDER, ENCODER, OPENQA, READER, SCORER
from openrealm.interchange.sentence_encoder import write_sentence_encoder
from openrealm.interchange.tables import require_faiss, write_faiss, write_parquet
from openrealm.progress import Progress, Silent
from openrealm.runs.checkpoints import checkpoints, write_model_folder
from openrealm.runs.first_weights import SPAN_READER
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import ALL_STAGES, LoadedModel, load_model
from openrealm.settings import Settings, settings_text

# What of a run's record goes abroad; the names of local files do not.
_PUBLISHED = (
    "created",
    "openrealm",
    "torch",
    "python",
    "seed",
    "corpus",
    "tokenizer",
    "chunks",
    SPAN_READER,
)


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        run: Name of the run.
        stage: Stage after which its weights were taken.
        format: What it was exported to.
        directory: The folder.
        files: Its files, with their sizes in bytes.
        url: Where it was uploaded to; None where it was not.
    """

    run: str
    stage: str
    format: str
    directory: str
    files: dict[str, int]
    url: str | None = None


def export(
    workspace: Path,
    *,
    to: str,
    output: Path | None = None,
    run: str | None = None,
    stage: str | None = None,
    push: str | None = None,
    public: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a run in another format. The folder appears only once it is complete.

    Args:
        workspace: Its folder.
        to: ``openrealm`` (the model alone, in our own format), ``sentence-transformers``,
            ``hf-realm``, ``parquet`` or ``faiss`` (chunks and their vectors).
        output: The folder to make; ``WORKSPACE/exports/RUN-FORMAT`` by default.
        run: Name of the run; the newest by default.
        stage: Take the weights at the end of this stage, or those that training began with
            (``start``); the last ones by default.
        push: Name of a repository on the Hugging Face hub to upload the folder to as well.
        public: A repository that is made for it is public; only with ``push``.
        progress: Where to tell how far it is.

    Raises:
        InputError: There is no such run, or the folder has something in it.
        ConfigError: The format cannot say what the model is, there is no such format, or nothing is
            pushed that could be public.
        HubError: The upload failed; the folder is there.
    """
    if public and push is None:
        raise ConfigError(
            "--public is of the repository that --push REPO makes; name it, or leave --public out"
        )
    report = write_export(
        workspace, to=to, output=output, run=run, stage=stage, location=push, progress=progress
    )
    if push is None:
        return report
    return replace(report, url=_pushed(Path(report.directory), to, push, public=public))


def write_export(
    workspace: Path,
    *,
    to: str,
    output: Path | None,
    run: str | None,
    stage: str | None,
    location: str | None,
    progress: Progress | None,
) -> ExportReport:
    """What `export` does before it uploads; ``location`` is what the card's examples call it."""
    progress = progress or Silent()
    if to not in _WRITERS:
        raise ConfigError(f"there is no format '{to}'; there are: {', '.join(_WRITERS)}")
    if to == "faiss":
        require_faiss()
    home = WorkspaceFolder(Path(workspace))
    loaded = load_model(home, name=run, stages=(stage,) if stage else ALL_STAGES)
    if to != "openrealm" and (lexical := loaded.model.lexical) is not None:
        progress.say(
            f"the score of this run has {lexical.value:.2f} times BM25 in it, which is not exported"
        )
    folder = output or home.directory / "exports" / f"{loaded.run.name}-{to}"
    _require_free(folder)
    with staged_directory(folder) as staging:
        _WRITERS[to](loaded, staging, progress)
        title = f"{home.directory.resolve().name}, {loaded.run.name}"
        card = model_card(_facts(loaded, to, title=title, location=location or folder.name))
        (staging / "README.md").write_text(card, encoding="utf-8")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return ExportReport(
        run=loaded.run.name,
        stage=loaded.checkpoint.position.stage,
        format=to,
        directory=str(folder),
        files={path.relative_to(folder).as_posix(): path.stat().st_size for path in paths},
    )


def _require_free(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"'{folder}' exists already; remove it, or name another with --output")


def _pushed(folder: Path, to: str, repo_id: str, *, public: bool) -> str:
    kind = repo_type(to)
    try:
        return push_folder(folder, repo_id, private=not public, repo_type=kind)
    except HubError as error:
        again = shell_command("hf", "upload", repo_id, folder, "--repo-type", kind)
        raise HubError(f"{error}; the folder is whole, to try again: {again}") from error


# The formats --------------------------------------------------------------------------------------


def _write_openrealm(loaded: LoadedModel, directory: Path, progress: Progress) -> None:
    position = loaded.checkpoint.position
    write_model_folder(
        directory,
        loaded.model,
        loaded.corpus.tokenizer,
        settings=settings_text(_published_settings(loaded)),
        stage=position.stage,
        step=position.total_step,
        record=_published_record(loaded),
    )


def _write_sentence_transformers(loaded: LoadedModel, directory: Path, progress: Progress) -> None:
    write_sentence_encoder(
        loaded.model.embedder,
        loaded.corpus.tokenizer,
        directory,
        query_tokens=loaded.encoder.templates.query_tokens,
        chunk_tokens=loaded.encoder.templates.chunk_tokens,
    )


def _write_hf_realm(loaded: LoadedModel, directory: Path, progress: Progress) -> None:
    """A folder for each of transformers' Realm classes that these weights fill."""
    tuned = loaded.checkpoint.position.stage == "qa"
    for kind in (EMBEDDER, READER, OPENQA) if tuned else (EMBEDDER, SCORER, ENCODER):
        write_hf_realm(
            loaded.model,
            loaded.settings,
            loaded.corpus.tokenizer,
            directory / kind,
            kind=kind,
            block_emb=loaded.snapshot(progress) if kind == OPENQA else None,
        )


def _write_parquet(loaded: LoadedModel, directory: Path, progress: Progress) -> None:
    _write_chunks(loaded, directory, progress, with_vectors=True)


def _write_faiss(loaded: LoadedModel, directory: Path, progress: Progress) -> None:
    write_faiss(directory / "index.faiss", loaded.snapshot(progress))
    _write_chunks(loaded, directory, progress, with_vectors=False)


def _write_chunks(
    loaded: LoadedModel, directory: Path, progress: Progress, *, with_vectors: bool
) -> None:
    snapshot, chunks = loaded.snapshot(progress), len(loaded.corpus)
    made_of = {"run": loaded.run.name, "stage": loaded.checkpoint.position.stage}
    with progress.task("writing chunks", total=chunks, unit="chunks") as task:
        write_parquet(
            directory / "chunks.parquet",
            loaded.corpus,
            snapshot,
            with_vectors=with_vectors,
            made_of=made_of,
            task=task,
        )


_WRITERS: dict[str, Callable[[LoadedModel, Path, Progress], None]] = {
    "openrealm": _write_openrealm,
    "sentence-transformers": _write_sentence_transformers,
    "hf-realm": _write_hf_realm,
    "parquet": _write_parquet,
    "faiss": _write_faiss,
}


# The facts of the run ----------------------------------------------------------------------------


def _published_settings(loaded: LoadedModel) -> Settings:
    """The run's settings with the chunking of the corpus, and no local folders in them."""
    settings = loaded.settings
    corpus = replace(
        settings.corpus,
        chunking=loaded.corpus.chunking,
        tokenizer=_public_name(settings.corpus.tokenizer),
    )
    qa = replace(settings.qa, reader=_public_name(settings.qa.reader))
    return replace(settings, start=_public_name(settings.start), corpus=corpus, qa=qa)


def _published_record(loaded: LoadedModel) -> dict[str, Any]:
    record = loaded.run.read_record()
    kept = {name: record[name] for name in _PUBLISHED if name in record}
    return {
        **kept,
        "start": _public_name(record["start"]),
        "ancestors": [_public_name(start) for start in record.get("ancestors", ())],
        "documents": _documents(loaded, record),
        "stages": _stages(loaded),
        "stage_reports": _reports(loaded, record),
    }


def _facts(loaded: LoadedModel, to: str, *, title: str, location: str) -> CardFacts:
    record, embedder = _published_record(loaded), loaded.model.embedder
    return CardFacts(
        title=title,
        export=to,
        location=location,
        version=openrealm.__version__,
        starts=(record["start"], *record["ancestors"]),
        seed=record["seed"],
        stages=record["stages"],
        reports=record["stage_reports"],
        documents=record["documents"],
        chunks=record["chunks"],
        corpus=record["corpus"],
        query_tokens=loaded.encoder.templates.query_tokens,
        chunk_tokens=loaded.encoder.templates.chunk_tokens,
        dim=embedder.dim,
        score_scale=embedder.config.score_scale,
        is_shared=embedder.is_shared,
        lexical_weight=lexical.value if (lexical := loaded.model.lexical) is not None else None,
    )


def _documents(loaded: LoadedModel, record: dict[str, Any]) -> int | None:
    """Documents that the run was trained on; not known any more where the corpus has changed."""
    is_same = record["corpus"] == loaded.corpus.fingerprint
    return loaded.corpus.num_documents if is_same else None


def _stages(loaded: LoadedModel) -> dict[str, int]:
    """Steps of each stage up to the weights, in order."""
    until = loaded.checkpoint.position.total_step
    steps: dict[str, int] = {}
    for checkpoint in reversed(list(checkpoints(loaded.run.checkpoints))):
        if checkpoint.position.total_step <= until:
            steps[checkpoint.position.stage] = checkpoint.position.step
    return steps


def _reports(loaded: LoadedModel, record: dict[str, Any]) -> list[dict[str, Any]]:
    until = loaded.checkpoint.position.total_step
    reports: list[dict[str, Any]] = record["stage_reports"]
    return [report for report in reports if report["total_step"] <= until]


def _public_name(name: str) -> str:
    """A start or tokenizer without the local folders that lead to it."""
    # A name on the hub has one slash; the folder may be gone, or be relative to another location.
    is_path = Path(name).exists() or name.startswith(("/", ".", "~")) or name.count("/") > 1
    return Path(name).name if is_path else name
