"""The model card: what an export holds, what it was made of, and what was measured; knows the
numbers that it is told, no files.

The front matter is what the Hugging Face hub reads. The licence is the publisher's to choose, and
is left open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The starter's encoder is minilm's, rounded.
_LABELLED = {
    "minilm": "minilm (all-MiniLM-L6-v2) is a sentence encoder that its makers trained on labelled "
    "pairs of sentences: what follows from it is not unsupervised.",
    "starter": "The starter's encoder is all-MiniLM-L6-v2, which its makers trained on labelled "
    "pairs of sentences, and its reader was trained on questions with answers: what follows from "
    "it is not unsupervised.",
}
_MINILM_ON_HUB = "sentence-transformers/all-MiniLM-L6-v2"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_LEGEND = {
    "probe": "sentences of the training texts that were held out from training, a salient span of "
    "each masked; recall is of chunks that hold the masked words",
    "held_out": "queries with known answers that were not trained on",
    "qa": "questions with known answers that were not trained on",
}


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """The facts in a model card.

    Attributes:
        title: Its heading.
        export: Format of the export, as `openrealm export --to` names it.
        location: Name of the folder or of the repository, for the examples.
        version: Of openrealm.
        starts: Where the first weights came from, and where those did, the nearest first.
        seed: Of the run.
        stages: Steps of each stage that was trained, in order.
        reports: What was measured after each stage: ``stage`` and figures.
        documents: Documents in the corpus; None where it has changed since the training.
        chunks: Chunks in the corpus that was trained on.
        corpus: Its fingerprint.
        query_tokens: Longest query input.
        chunk_tokens: Longest chunk input.
        dim: Numbers per vector.
        score_scale: Factor on query vectors.
        is_shared: Whether one tower serves queries and chunks.
        lexical_weight: What BM25 counts beside the vectors; None where they count alone.
    """

    title: str
    export: str
    location: str
    version: str
    starts: tuple[str, ...]
    seed: int
    stages: Mapping[str, int]
    reports: Sequence[Mapping[str, Any]]
    documents: int | None
    chunks: int
    corpus: str
    query_tokens: int
    chunk_tokens: int
    dim: int
    score_scale: float
    is_shared: bool
    lexical_weight: float | None = None


def model_card(facts: CardFacts) -> str:
    """The text of README.md."""
    parts = [
        _front_matter(facts),
        f"# {facts.title}",
        _introduction(facts),
        "## Data",
        _data(facts),
        "## Training",
        _training(facts),
        "## Figures",
        _figures(facts.reports),
        "## Use",
        _USES[facts.export](facts),
        "## Licence",
        "Not stated. Whoever publishes this says here, and in the field `license` above, on what "
        "terms, and has the rights in the documents and in the first weights in mind.",
    ]
    return "\n\n".join(parts) + "\n"


def repo_type(export: str) -> str:
    """What kind of repository on the hub an export belongs in."""
    return "dataset" if export in ("parquet", "faiss") else "model"


def _front_matter(facts: CardFacts) -> str:
    lines = ["---", "# license: (yours to choose, such as apache-2.0)"]
    if repo_type(facts.export) == "model":
        for_library = facts.export == "sentence-transformers"
        lines.append(f"library_name: {'sentence-transformers' if for_library else 'openrealm'}")
        task = "sentence-similarity" if for_library else "feature-extraction"
        lines.append(f"pipeline_tag: {task}")
        base = _MINILM_ON_HUB if facts.starts[0] in _LABELLED else facts.starts[0]
        if _HUB_NAME.fullmatch(base):
            lines.append(f"base_model: {json.dumps(base)}")
    tags = ["openrealm", "realm", "retrieval"]
    if repo_type(facts.export) == "model":
        tags += ["sentence-transformers"] if facts.export == "sentence-transformers" else []
        tags += ["dense-retrieval", "retrieval-augmented"]
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _introduction(facts: CardFacts) -> str:
    what = {
        "openrealm": "A retriever and a reader, learned together",
        "hf-realm": "A retriever and a reader, learned together",
        "sentence-transformers": "The retriever of a model that was learned",
        "parquet": "Chunks of documents and their vectors, by a retriever that was learned",
        "faiss": "An index of chunks of documents, by a retriever that was learned",
    }[facts.export]
    words = ""
    if facts.lexical_weight is not None:
        words = (
            f" Its relevance score is the inner product and {facts.lexical_weight:.2f} times BM25"
        )
        words += "." if facts.export == "openrealm" else "; what is here has the vectors alone."
    return (
        f"{what} by the method of REALM ([Guu et al., 2020](https://arxiv.org/abs/2002.08909)): "
        "masked words of a text are predicted with the help of retrieved chunks, and a chunk that "
        f"makes them more likely is found more easily afterwards. Made with openrealm "
        f"{facts.version}.{words}"
    )


def _data(facts: CardFacts) -> str:
    known = f"{facts.documents:,}" if facts.documents is not None else "(changed since)"
    rows = [
        ("documents", known),
        ("chunks", f"{facts.chunks:,}, of at most {facts.chunk_tokens} tokens"),
        ("fingerprint of the corpus", f"`{facts.corpus}`"),
    ]
    return _table(["", "corpus"], rows)


def _training(facts: CardFacts) -> str:
    lines = [f"First weights: {_named_start(facts.starts)}. Seed {facts.seed}."]
    lines += [said for start, said in _LABELLED.items() if start in facts.starts]
    steps = [(stage, f"{count:,}") for stage, count in facts.stages.items()]
    table = _table(["stage", "steps"], steps) if steps else "No training step has been made."
    return "\n\n".join([" ".join(lines), table])


def _named_start(starts: Sequence[str]) -> str:
    if starts == ("scratch",):
        return "random (`scratch`)"
    return ", which began as ".join(f"`{start}`" for start in starts)


def _figures(reports: Sequence[Mapping[str, Any]]) -> str:
    names = [name for report in reports for name in report if "/" in name]
    names = list(dict.fromkeys(names))
    if not names:
        return "Nothing was measured."
    head = ["after stage", *(f"{report['stage']}" for report in reports)]
    rows = [
        (f"`{name}`", *(_number(report[name]) if name in report else "" for report in reports))
        for name in names
    ]
    legend = [
        f"- `{group}`: {text}."
        for group, text in _LEGEND.items()
        if any(name.startswith(f"{group}/") for name in names)
    ]
    return "\n\n".join([_table(head, rows), "\n".join(legend)])


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# How to use it, by format -------------------------------------------------------------------------


def _python(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _use_openrealm(facts: CardFacts) -> str:
    code = _python(
        "import openrealm",
        "",
        f"model = openrealm.from_pretrained({json.dumps(facts.location)})",
        'queries = model.embed_queries(["what is looked for"])',
        'documents = model.embed_documents([("title", "text")])',
        "print(queries @ documents.T)",
    )
    return (
        f"{code}\n\nVectors have {facts.dim} numbers; relevance is their inner product. Queries "
        f"are cut at {facts.query_tokens} tokens, chunks at {facts.chunk_tokens}. To train on with "
        "other documents: `openrealm pretrain WS --start FOLDER`."
    )


def _use_sentence_transformers(facts: CardFacts) -> str:
    location = json.dumps(facts.location)
    if facts.is_shared:
        loading = [f"queries = chunks = SentenceTransformer({location})"]
        limit = [f"queries.max_seq_length = {facts.query_tokens}  # after the chunks"]
    else:
        loading = [
            f"folder = {location}  # from the hub: huggingface_hub.snapshot_download({location})",
            'queries = SentenceTransformer(f"{folder}/query")',
            'chunks = SentenceTransformer(f"{folder}/chunk")',
        ]
        limit = []
    scale = f" * {facts.score_scale:g}" if facts.score_scale != 1 else ""
    code = _python(
        "from sentence_transformers import SentenceTransformer",
        "",
        *loading,
        'chunk_emb = chunks.encode([("title", "body of a chunk")])',
        *limit,
        f'query_emb = queries.encode(["what is looked for"]){scale}',
        "print(query_emb @ chunk_emb.T)",
    )
    factor = (
        f" The factor {facts.score_scale:g} on query vectors is not in the weights; it changes no "
        "ranking, only how sharp a softmax of the scores is."
        if scale
        else ""
    )
    towers = "" if facts.is_shared else " Queries and chunks have an encoder each."
    return (
        f"{code}\n\nA chunk is a pair of title and body (the title may be empty), a query a single "
        f"text; relevance is the inner product. Chunks are cut at {facts.chunk_tokens} tokens and "
        f"queries at {facts.query_tokens}.{towers}{factor}"
    )


def _use_hf_realm(facts: CardFacts) -> str:
    return (
        "A folder for each of the Realm classes that transformers had until its version 5, with "
        "their names and tensors. `openrealm import` reads them back."
    )


def _use_parquet(facts: CardFacts) -> str:
    code = _python(
        "import pyarrow.parquet as pq",
        "",
        f"table = pq.read_table({json.dumps(facts.location + '/chunks.parquet')})",
        'print(table.column_names, table["vector"][0])',
    )
    return f"{code}\n\n{_vectors(facts)}"


def _use_faiss(facts: CardFacts) -> str:
    code = _python(
        "import faiss",
        "import pyarrow.parquet as pq",
        "",
        f"index = faiss.read_index({json.dumps(facts.location + '/index.faiss')})",
        f"chunks = pq.read_table({json.dumps(facts.location + '/chunks.parquet')})",
        "scores, rows = index.search(query_emb, 5)  # float32, a row a query",
        "print(chunks.take(rows[0]).to_pylist())",
    )
    return f"{code}\n\n{_vectors(facts)}"


def _vectors(facts: CardFacts) -> str:
    return (
        f"Row *i* is chunk *i* of the corpus; vectors have {facts.dim} numbers. The text of the "
        "documents is in it: publish it only where they may be. Queries are embedded by the model, "
        "which `openrealm export --to openrealm` or `--to sentence-transformers` writes."
    )


_USES = {
    "openrealm": _use_openrealm,
    "hf-realm": _use_hf_realm,
    "sentence-transformers": _use_sentence_transformers,
    "parquet": _use_parquet,
    "faiss": _use_faiss,
}
