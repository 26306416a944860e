"""Models without a workspace: from a folder or the Hugging Face hub, and to the hub."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openrealm.answering.answerer import Answerer, Fillings, make_answerer
from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.errors import CorpusError
from openrealm.index.mips import ExactIndex
from openrealm.interchange.card import repo_type
from openrealm.interchange.hub import Download, HubApi, fetch_folder, push_folder
from openrealm.models.inputs import Inputs, Templates
from openrealm.models.realm import Realm
from openrealm.progress import Progress
from openrealm.recipes.exports import write_export
from openrealm.retrieval.embedding import TextEncoder, embed_rows
from openrealm.retrieval.lexical import BM25
from openrealm.retrieval.retriever import Retriever
from openrealm.runs.checkpoints import open_model_folder
from openrealm.runs.loaded import empty_model
from openrealm.runs.parts import pick_device, weighed
from openrealm.settings import Settings, read_settings

_BATCH = 32


@dataclass(frozen=True)
class PretrainedModel:
    """A model with all that it takes to use it, and no corpus.

    Attributes:
        model: Towers and reader, in evaluation mode.
        settings: What it was made with.
        encoder: The model's towers, with tokenizer and templates.
        stage: Stage after which the weights were taken.
        record: What made it: start, versions, fingerprints, stage reports.
    """

    model: Realm
    settings: Settings
    encoder: TextEncoder
    stage: str
    record: dict[str, Any]

    def embed_queries(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Query vectors ``(texts, dim)``, with the score scale in them."""
        ids = [self.encoder.tokenizer.encode(text).ids for text in texts]
        return self._embedded(
            [len(line) for line in ids],
            lambda rows: self.encoder.templates.query([ids[row] for row in rows]),
            self.model.embedder.embed_queries,
        )

    def embed_documents(
        self, documents: Sequence[str | tuple[str, str] | Document]
    ) -> npt.NDArray[np.float32]:
        """Vectors ``(documents, dim)``: of the beginnings of those that are longer than a chunk.

        Args:
            documents: Texts, pairs of title and text, or documents.
        """
        pairs = [_title_and_text(each) for each in documents]
        titles, bodies = (
            [self.encoder.tokenizer.encode(text).ids for text in texts]
            for texts in (zip(*pairs, strict=True) if pairs else ((), ()))
        )
        return self._embedded(
            [len(title) + len(body) for title, body in zip(titles, bodies, strict=True)],
            lambda rows: self.encoder.templates.chunk(
                [titles[row] for row in rows], [bodies[row] for row in rows]
            ),
            self.model.embedder.embed_chunks,
        )

    def _embedded(
        self,
        lengths: Sequence[int],
        inputs_of: Callable[[Sequence[int]], Inputs],
        embed: Callable[[Inputs], Tensor],
    ) -> npt.NDArray[np.float32]:
        """Vectors of all rows, a batch of like lengths at a time."""
        vectors = np.zeros((len(lengths), self.model.embedder.dim), dtype=np.float32)
        order = np.argsort(lengths, kind="stable").tolist()
        for first in range(0, len(order), _BATCH):
            rows = order[first : first + _BATCH]
            with torch.inference_mode():
                batch = embed(inputs_of(rows).to(self.encoder.device))
            vectors[rows] = batch.float().cpu().numpy()
        return vectors

    def answerer(self, corpus: ChunkStore) -> Answerer:
        """What searches a corpus, fills masks over it and answers from it.

        Raises:
            CorpusError: The corpus has another vocabulary than the model.
        """
        if corpus.tokenizer.fingerprint != self.encoder.tokenizer.fingerprint:
            raise CorpusError(
                f"{corpus.directory} has another vocabulary than the model; ingest with the "
                "model's: openrealm ingest ... --set corpus.tokenizer=FOLDER"
            )
        rows = np.arange(len(corpus))
        vectors = embed_rows(corpus, rows, self.encoder)
        index = ExactIndex(torch.from_numpy(vectors).to(self.encoder.device))
        lexical = None
        if (weight := self.model.lexical) is not None:
            lexical = weighed(BM25.build(corpus), weight)
        retriever = Retriever(corpus, index, self.settings.retrieval, lexical=lexical)
        return make_answerer(self.settings, self.model, self.encoder, corpus, retriever)

    def fill(self, text: str, documents: Sequence[tuple[str, str]], *, top: int = 5) -> Fillings:
        """The most probable words for the ``[MASK]``s of a text, given some documents to read.

        Args:
            text: A text with one or more masks.
            documents: Pairs of title and text; long ones are cut into chunks, all are read.
            top: Fillings returned.

        Raises:
            InputError: The text has no mask.
        """
        given = [
            Document(id=str(number), title=title, text=body, source="given")
            for number, (title, body) in enumerate(documents)
        ]
        with tempfile.TemporaryDirectory() as folder:
            chunking = self.settings.corpus.chunking
            update_store(
                Path(folder), add=given, tokenizer=self.encoder.tokenizer, chunking=chunking
            )
            corpus = ChunkStore.open(Path(folder))
            return self.answerer(corpus).fill([text], k=len(corpus) + 1, top=top)[0]


def _title_and_text(document: str | tuple[str, str] | Document) -> tuple[str, str]:
    if isinstance(document, str):
        return "", document
    return (document.title, document.text) if isinstance(document, Document) else document


def from_pretrained(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    download: Download | None = None,
) -> PretrainedModel:
    """A model that was exported ``--to openrealm``.

    Args:
        source: A folder, or the name of a repository on the Hugging Face hub.
        revision: Branch, tag or commit of the repository.
        token: Access token; by default the one that the hub's own tools use.
        download: What downloads; `huggingface_hub.snapshot_download` by default.

    Raises:
        CheckpointError: The folder is damaged, or of another kind.
        HubError: There is no such folder, and the hub does not give such a repository.
    """
    directory = Path(source)
    if not directory.is_dir():
        directory = fetch_folder(str(source), revision=revision, token=token, download=download)
    folder = open_model_folder(directory)
    settings, tokenizer = read_settings(folder.settings_file), folder.tokenizer()
    model = empty_model(settings, tokenizer, stage=folder.stage, record=folder.record)
    folder.load_weights(model)
    templates = Templates.of(
        tokenizer,
        query_tokens=settings.model.query_tokens,
        chunk_tokens=settings.corpus.chunking.chunk_tokens,
        query_masks=settings.model.query_masks,
    )
    return PretrainedModel(
        model=model.to(pick_device(settings)).eval(),
        settings=settings,
        encoder=TextEncoder(model.embedder, tokenizer, templates),
        stage=folder.stage,
        record=dict(folder.record),
    )


def push_to_hub(
    workspace: Path,
    repo_id: str,
    *,
    to: str = "openrealm",
    run: str | None = None,
    stage: str | None = None,
    private: bool = True,
    token: str | None = None,
    api: HubApi | None = None,
    progress: Progress | None = None,
) -> str:
    """Exports a run and uploads it; returns the repository's address and leaves no folder behind.

    Args:
        workspace: Its folder.
        repo_id: ``name`` or ``owner/name``; the repository is made if there is none.
        to: Format, as for `export`.
        run: Name of the run; the newest by default.
        stage: Take the weights at the end of this stage; the last ones by default.
        private: Whether a repository that is made for it is private.
        token: Access token; by default the one that the hub's own tools use.
        api: What talks to the hub; `huggingface_hub.HfApi` by default.
        progress: Where to tell how far it is.

    Raises:
        HubError: The hub cannot be reached, or refuses.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / repo_id.rpartition("/")[2]
        write_export(
            workspace,
            to=to,
            output=folder,
            run=run,
            stage=stage,
            location=repo_id,
            progress=progress,
        )
        return push_folder(
            folder, repo_id, private=private, repo_type=repo_type(to), token=token, api=api
        )
