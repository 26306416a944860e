"""Tests of chunking: the token ids against those of the slices, the packing against the budget."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from openrealm.corpus import chunking
from openrealm.corpus.chunking import ChunkedDocument, chunk_documents
from openrealm.corpus.records import Document
from openrealm.errors import ConfigError, InputError
from openrealm.settings import ChunkingConfig
from openrealm.settings.config import from_dict
from openrealm.tokenizer import WordPiece


def chunked(
    text: str, tokenizer: WordPiece, *, title: str = "", chunk_tokens: int = 24, **options: float
) -> ChunkedDocument:
    config = from_dict(ChunkingConfig, {"chunk_tokens": chunk_tokens, **options})
    (result,) = chunk_documents([Document("d", title, text, "s")], tokenizer, config)
    return result


def bodies(result: ChunkedDocument) -> list[str]:
    return [result.document.text[start:stop] for start, stop in result.spans]


def body_ids(result: ChunkedDocument) -> list[np.ndarray]:
    return np.split(result.body_ids, result.body_stops[:-1]) if len(result.spans) else []


def without_normalising(tokenizer: WordPiece) -> WordPiece:
    """The same vocabulary with capitals, accents and control characters left as they are."""
    spec = json.loads(tokenizer.inner.to_str())
    spec["normalizer"] |= {"lowercase": False, "strip_accents": False, "clean_text": False}
    return WordPiece(tokenizers.Tokenizer.from_str(json.dumps(spec)))


WORDS = [
    *("The", "Nile", "flowing", "U.S.", "Dr.", "e.g.", ".", "!", "...", "\n", " ", "\t", '"Q."'),
    *(
        "。",
        "「はい。」",
        "各地",
        "한국어",
        "नमस्ते।",
        "\u0301",
        "\u0308a",
        "İstanbul",
        "ß",
        "ﬁ",
        "é",
    ),
    *("\u3000", "\u2028", "\x0c", "\x85", "\x1c", "\u200b", "\ufffd", "\U0001f600", "\u2e0f"),
    *("[MASK]", "[SEP]", "##ing", "x" * 120, "1,234.5", "(a)", "History.", "References."),
]
TEXTS = st.lists(
    st.tuples(st.sampled_from(WORDS) | st.text(max_size=6), st.sampled_from(["", " ", " ", "\n"])),
    max_size=50,
).map(lambda pairs: "".join(word + gap for word, gap in pairs).replace("\0", ""))


@given(
    text=TEXTS,
    title=st.text(max_size=20),
    chunk_tokens=st.sampled_from([16, 24, 64]),
    min_chunk_tokens=st.sampled_from([0, 8]),
    plain=st.booleans(),
)
def test_ids_are_those_of_the_slice_and_never_exceed_the_budget(
    text: str,
    title: str,
    chunk_tokens: int,
    min_chunk_tokens: int,
    plain: bool,
    tokenizer: WordPiece,
) -> None:
    tokenizer = without_normalising(tokenizer) if plain else tokenizer
    result = chunked(
        text,
        tokenizer,
        title=title,
        chunk_tokens=chunk_tokens,
        min_chunk_tokens=min_chunk_tokens,
    )
    assert list(result.title_ids) == list(tokenizer.encode(title).ids[: chunk_tokens // 4])
    last = 0
    for (start, stop), ids in zip(result.spans, body_ids(result), strict=True):
        assert last <= start < stop <= len(text)
        assert list(ids) == list(tokenizer.encode(text[start:stop]).ids)
        assert 0 < len(ids) <= chunk_tokens - 3 - len(result.title_ids)
        last = stop


@given(
    sentences=st.lists(
        st.sampled_from(["The river flows.", "It is so long!", "No, it isn't."]), min_size=1
    )
)
def test_plain_sentences_are_packed_greedily_and_none_is_lost(
    tokenizer: WordPiece, sentences: list[str]
) -> None:
    result = chunked(" ".join(sentences), tokenizer, chunk_tokens=32, min_chunk_tokens=0)
    wanted: list[list[int]] = []
    for sentence in sentences:
        ids = list(tokenizer.encode(sentence).ids)
        if wanted and len(wanted[-1]) + len(ids) <= 32 - 3:
            wanted[-1] += ids
        else:
            wanted.append(ids)
    assert [list(ids) for ids in body_ids(result)] == wanted


def test_a_chunk_may_fill_its_tokens_to_the_last(tokenizer: WordPiece) -> None:
    text = "The Nile is long. " * 3
    count = len(tokenizer.encode(text).ids)
    exact = chunked(text, tokenizer, chunk_tokens=count + 3)
    assert len(exact.spans) == 1
    tight = chunked(text, tokenizer, chunk_tokens=count + 2, min_chunk_tokens=0)
    assert len(tight.spans) == 2


def test_a_long_sentence_is_cut_after_a_clause_where_there_is_one(tokenizer: WordPiece) -> None:
    text = "the nile the nile the nile, " * 8 + "end."
    result = chunked(text, tokenizer, chunk_tokens=30)
    assert len(result.spans) > 1
    assert all(body.endswith((",", ".")) for body in bodies(result))


def test_a_long_sentence_without_clauses_is_cut_at_a_space(tokenizer: WordPiece) -> None:
    text = "the nile " * 40 + "end."
    result = chunked(text, tokenizer, chunk_tokens=30)
    assert " ".join(bodies(result)) == text
    assert all(body.split()[0] in ("the", "nile", "end.") for body in bodies(result))


def test_a_word_of_too_many_tokens_is_cut_inside_and_nothing_is_lost(tokenizer: WordPiece) -> None:
    text = "see " + "qxzjkvw" * 12 + " end."
    result = chunked(text, tokenizer, chunk_tokens=16)
    assert "".join("".join(bodies(result)).split()) == "".join(text.split())
    assert all(len(ids) <= 13 for ids in body_ids(result))


def test_pieces_of_a_word_have_the_tokens_that_they_have_by_themselves(
    tokenizer: WordPiece,
) -> None:
    # Words beyond a hundred letters are one unknown token; these are just below.
    text = "湖" + "thenileflowsnorththroughsudanandegypt" * 2 + "." + "qxzj" * 24 + "(" + "湖é" * 40
    result = chunked(text, tokenizer, chunk_tokens=16)
    assert "".join(bodies(result)) == text
    for body, ids in zip(bodies(result), body_ids(result), strict=True):
        assert list(ids) == list(tokenizer.encode(body).ids)
        assert len(ids) <= 13


def test_a_sentence_of_a_megabyte_is_cut_and_nothing_is_lost(tokenizer: WordPiece) -> None:
    text = "the nile flows " * 20_000
    result = chunked(text, tokenizer, chunk_tokens=64)
    assert "".join("".join(bodies(result)).split()) == "".join(text.split())


def test_a_megabyte_without_a_space_is_cut_and_its_ids_are_those_of_the_slices(
    tokenizer: WordPiece,
) -> None:
    text = "湖" * 20_000 + "x" * 20_000
    result = chunked(text, tokenizer, chunk_tokens=64)
    assert "".join(bodies(result)) == text
    for body, ids in zip(bodies(result), body_ids(result), strict=True):
        assert list(ids) == list(tokenizer.encode(body).ids)


def test_a_long_title_loses_its_last_tokens(tokenizer: WordPiece) -> None:
    title = "The Nile and the lakes of Africa " * 10
    result = chunked("The river flows.", tokenizer, title=title, chunk_tokens=40, title_share=0.5)
    assert list(result.title_ids) == list(tokenizer.encode(title).ids[:20])


def test_section_heads_open_chunks_and_never_stand_alone(tokenizer: WordPiece) -> None:
    text = "History.\nThe river was long.\nCourse.\nThe river flows north.\nSources."
    result = chunked(text, tokenizer, chunk_tokens=18, min_chunk_tokens=0)
    assert bodies(result) == ["History.\nThe river was long.", "Course.\nThe river flows north."]


@pytest.mark.parametrize("text", ["", "   \n", "\x01\x02", "\u200b"])
def test_a_text_without_tokens_has_no_chunks(text: str, tokenizer: WordPiece) -> None:
    result = chunked(text, tokenizer)
    assert len(result.spans) == len(result.body_ids) == len(result.body_stops) == 0


def test_a_document_with_the_mark_in_its_text_has_the_right_ids(tokenizer: WordPiece) -> None:
    text = "The Nile\u2e0f flows. The lake\u2e0fis deep."
    result = chunked(text, tokenizer, title="A \u2e0f title", chunk_tokens=64)
    assert bodies(result) == [text]
    assert list(result.body_ids) == list(tokenizer.encode(text).ids)
    assert list(result.title_ids) == list(tokenizer.encode("A \u2e0f title").ids)


def test_with_whole_a_document_that_is_too_long_is_one_chunk_with_its_beginning(
    tokenizer: WordPiece,
) -> None:
    text = "The Nile flows. The lake is deep.\n\nMount Kenya was climbed in 1899. " * 4
    result = chunked(text, tokenizer, title="Nile", chunk_tokens=24, whole=True)
    (body,) = bodies(result)
    assert text.startswith(body) and result.document.text == text
    assert list(result.body_ids) == list(tokenizer.encode(body).ids)
    room = 24 - 3 - len(result.title_ids)
    assert room // 2 <= len(result.body_ids) <= room
    assert list(result.body_stops) == [len(result.body_ids)]


@pytest.mark.parametrize("text", ["The Nile.", "The \u2e0f Nile.", " The Nile flows \n"])
def test_with_whole_a_short_document_is_itself(text: str, tokenizer: WordPiece) -> None:
    result = chunked(text, tokenizer, whole=True)
    assert bodies(result) == [text]
    assert list(result.body_ids) == list(tokenizer.encode(text).ids)


def test_with_whole_a_document_without_text_has_no_chunk(tokenizer: WordPiece) -> None:
    assert bodies(chunked(" \n", tokenizer, whole=True)) == []


def test_many_documents_come_in_order_whatever_the_batches(
    tokenizer: WordPiece, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [
        Document(str(n), f"T{n}", "The Nile flows. " * (n % 7 + 1), "s") for n in range(50)
    ]
    together = list(chunk_documents(documents, tokenizer, ChunkingConfig(chunk_tokens=16)))
    monkeypatch.setattr(chunking, "_BATCH_CHARS", 40)
    monkeypatch.setattr(chunking, "_GROUP_CHARS", 64)
    apart = list(chunk_documents(documents, tokenizer, ChunkingConfig(chunk_tokens=16)))
    assert [c.document for c in together] == [c.document for c in apart] == documents
    for one, other in zip(together, apart, strict=True):
        assert np.array_equal(one.spans, other.spans)
        assert np.array_equal(one.body_ids, other.body_ids)


def test_what_the_documents_raise_comes_through_and_no_thread_stays(tokenizer: WordPiece) -> None:
    def broken() -> Iterator[Document]:
        yield Document("a", "", "The Nile flows.", "s")
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        list(chunk_documents(broken(), tokenizer, ChunkingConfig()))
    assert threading.active_count() == before


def test_documents_are_read_only_a_little_ahead(
    tokenizer: WordPiece, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "_BATCH_CHARS", 1)
    read = 0

    def endless() -> Iterator[Document]:
        nonlocal read
        while True:
            read += 1
            yield Document(str(read), "", "The Nile flows.", "s")

    chunks = chunk_documents(endless(), tokenizer, ChunkingConfig())
    for _ in range(10):
        next(chunks)
    chunks.close()
    assert read <= 13


def test_a_tokenizer_that_does_not_set_punctuation_apart_is_refused(tokenizer: WordPiece) -> None:
    spec = json.loads(tokenizer.inner.to_str())
    spec["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    other = WordPiece(tokenizers.Tokenizer.from_str(json.dumps(spec)))
    with pytest.raises(InputError, match="punctuation"):
        chunked("The Nile flows.", other)


def test_a_chunk_of_too_few_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"chunk_tokens = 8 is below"):
        from_dict(ChunkingConfig, {"chunk_tokens": 8})
