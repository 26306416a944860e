"""A BERT of your own as the start: documents in its vocabulary, trained, and used elsewhere.

    python examples/your_own_encoder.py path/to/bert my-documents

The folder is a Hugging Face BERT with WordPiece (``config.json``, ``model.safetensors``,
``vocab.txt`` or ``tokenizer.json``); a name on the hub does as well, once it is downloaded. What is
trained is exported as a folder that needs neither the documents nor the workspace.
"""

from __future__ import annotations

import sys
from pathlib import Path

import openrealm


def main(
    encoder: str | Path,
    documents: str | Path,
    *,
    workspace: str | Path = "own",
    settings: openrealm.Settings | None = None,
) -> None:
    settings = (settings or openrealm.preset("adapt")).changed(
        start=str(encoder), corpus={"tokenizer": str(encoder)}
    )
    with openrealm.open(workspace) as own:
        own.ingest(documents, settings=settings)
        own.pretrain(settings)
        folder = own.export("openrealm").directory

    model = openrealm.from_pretrained(folder)
    queries = model.embed_queries(["who repaired the bridge?", "where do lakes freeze?"])
    texts = model.embed_documents([("The bridge", "Anna Berg repaired it."), "Lakes freeze here."])
    print(folder)
    print(queries @ texts.T)  # a row for each query, a column for each text


if __name__ == "__main__":
    main(*sys.argv[1:3])
