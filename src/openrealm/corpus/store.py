"""The chunk store: documents, their chunks and the chunks' token ids, on disk, memory-mapped.

`ChunkStore` reads, `update_store` adds and removes documents, `rechunk_store` cuts them anew.
Memory does not grow with the corpus. Of all that is written here only ``store.json`` ever changes,
and that in one step, so that a reader and a writer, or a crash, never meet in the middle.

**The folder** (format version 1; all numbers little-endian)::

    store.json               the manifest
    tokenizer-HASH/          tokenizer.json and vocab.txt
    segment-REVISION-N/      the documents of one or several updates, in five files
    removed-REVISION-N.ids   the documents of one segment that were removed since
    .lock                    held by the one process that is writing; its process id
    staging/                 what an update prepares; anything here is rubbish after a crash

**store.json** names every other file with its size in bytes and its SHA-256; a file that it does
not name is not part of the store.

    format, version          "openrealm chunk store", 1
    fingerprint              SHA-256 over the tokenizer's fingerprint, the chunking settings, the
                             version of the chunking rules, and the live documents' digests in order
    chunking                 the settings of `ChunkingConfig`
    tokenizer                the tokenizer's fingerprint
    tokenizer_files          path, bytes and sha256 of each
    segments                 in the order of their documents: name, documents, chunks, token_type
                             ("uint16", or "int32" for more than 65,536 tokens), files, num_removed,
                             and the file of removed documents, or null
    revision                 the number of updates so far; it is part of new files' names, so that
                             no name is used twice
    rules                    the version of the chunking rules

**A segment** never changes. Documents and chunks are numbered from 0 in it.

    documents.arrow          Arrow IPC file, uncompressed, a row a document: ``id``, ``title``,
                             ``text``, ``source`` (strings); ``digest`` (16 bytes: BLAKE2b over id,
                             title and text in UTF-8, each behind its length as 8 bytes);
                             ``first_chunk`` (its chunks go up to the next document's);
                             ``title_start`` and ``title_tokens`` (its part of titles.ids)
    chunks.arrow             Arrow IPC file, uncompressed, a row a chunk, exactly 65,536 rows a
                             batch but for the last: ``document``; ``start`` and ``stop``, the
                             body's characters (Unicode code points) in the document's text;
                             ``byte_start`` and ``byte_stop``, the same in its UTF-8; ``body_start``
                             and ``body_tokens``, its part of bodies.ids; ``length``, the tokens of
                             [CLS] title [SEP] body [SEP]
    titles.ids, bodies.ids   token ids one after another, without special tokens
    ids.index                for look-up: for each document BLAKE2b with 8 bytes over its id, as a
                             signed number, ascending; then, in the same order, the documents'
                             numbers; all 64-bit

**removed-*.ids**: 32-bit numbers of removed documents, ascending. The store's numbers of documents
and rows of chunks go through the segments in order and leave these out.
"""

from openrealm.corpus.reading import Chunk, ChunkStore
from openrealm.corpus.records import IngestReport, ProblemLog
from openrealm.corpus.updating import rechunk_store, update_store

__all__ = ["Chunk", "ChunkStore", "IngestReport", "ProblemLog", "rechunk_store", "update_store"]
