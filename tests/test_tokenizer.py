"""Tests of WordPiece: ids, offsets, training, files and fingerprints."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.implementations import BertWordPieceTokenizer

from openrealm.errors import InputError
from openrealm.models.starts import starter_directory
from openrealm.tokenizer import SPECIAL_TOKENS, WordPiece

TEXTS = [
    "The river Elbe rises in the Giant Mountains and flows to the North Sea.",
    "Rivers that flow north: the Elbe, the Weser and the Rhine.",
    "Mountains rise; seas fall. In 1999 the sea fell by 3.5 metres!",
    "Łódź and Zürich are cities; [MASK] and [SEP] are words in brackets.",
]
# Ids are places in this list; "[", "]", "ma" and "##sk" let a bracketed name be spelt.
VOCAB = [
    *SPECIAL_TOKENS,
    *("the", "river", "sea", "rise", "a", "b", "c", "zurich", "[", "]", "ma", ",", ".", "北"),
    *("##s", "##side", "##d", "##e", "##sk", "##b"),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> WordPiece:
    return WordPiece.load(_vocab_file(tmp_path_factory.mktemp("small"), VOCAB))


@pytest.fixture(scope="module")
def trained() -> WordPiece:
    return WordPiece.train(TEXTS, vocab_size=150)


def _vocab_file(folder: Path, words: list[str]) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


def _spelt(wordpiece: WordPiece, text: str) -> list[str]:
    return [wordpiece.token(number) for number in wordpiece.encode(text).ids]


def _longest_match_first(text: str) -> list[int]:
    """WordPiece written out by hand, for lower-case ASCII."""
    ids: list[int] = []
    for word in re.findall(r"\w+|[^\w\s]", text):
        pieces: list[str] = []
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            stops = range(len(word), start, -1)
            stop = next((s for s in stops if mark + word[start:s] in VOCAB), None)
            if stop is None:
                pieces = ["[UNK]"]
                break
            pieces.append(mark + word[start:stop])
            start = stop
        ids.extend(VOCAB.index(piece) for piece in pieces)
    return ids


# Text to ids --------------------------------------------------------------------------------------

_words = st.sampled_from(["the", "river", "rivers", "sea", "seaside", "rised", "bb", "abc", "x"])
_sentences = st.lists(_words | st.sampled_from([",", "."]), max_size=8).map(" ".join)


@given(_sentences | st.text(alphabet="abcdesrivt ,.", max_size=40))
def test_ids_are_those_of_longest_match_first(small: WordPiece, text: str) -> None:
    assert small.encode(text).ids.tolist() == _longest_match_first(text)


@given(st.lists(_sentences | st.text(max_size=40), max_size=4))
def test_ids_are_the_same_in_a_batch_and_one_by_one(small: WordPiece, texts: list[str]) -> None:
    assert small.encode_ids(texts) == [small.encode(text).ids.tolist() for text in texts]


def test_a_text_of_no_words_has_no_tokens(small: WordPiece) -> None:
    for text in ("", " \n\t", "\u200b"):
        tokens = small.encode(text)
        assert (tokens.ids.shape, tokens.offsets.shape) == ((0,), (0, 2))
        assert (tokens.ids.dtype, tokens.offsets.dtype) == (np.int32, np.int32)


def test_no_special_tokens_are_added(small: WordPiece) -> None:
    assert _spelt(small, "the sea") == ["the", "sea"]


def test_the_name_of_a_special_token_in_a_text_is_text(small: WordPiece) -> None:
    assert _spelt(small, "the [MASK] [SEP]") == ["the", "[", "ma", "##sk", "]", "[", "[UNK]", "]"]
    assert small.mask_id not in small.encode_ids(["the [MASK]"])[0]


def test_a_long_text_is_not_cut_and_a_short_one_not_padded(small: WordPiece) -> None:
    assert [len(ids) for ids in small.encode_ids(["the " * 5000, "the"])] == [5000, 1]


def test_padding_and_truncation_stored_in_a_file_are_ignored(tmp_path: Path) -> None:
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: i for i, word in enumerate(VOCAB)}, unk_token="[UNK]")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    inner.enable_truncation(2)
    inner.enable_padding(length=9)
    (tmp_path / "tokenizer.json").write_text(inner.to_str(), encoding="utf-8")
    loaded = WordPiece.load(tmp_path)
    assert [len(ids) for ids in loaded.encode_ids(["the sea the sea", "a"])] == [4, 1]


# Offsets ------------------------------------------------------------------------------------------


@given(_sentences)
def test_offsets_cut_the_pieces_out_of_the_text(small: WordPiece, text: str) -> None:
    tokens = small.encode(text)
    for number, (start, stop) in zip(tokens.ids, tokens.offsets, strict=True):
        if number != small.unk_id:
            assert text[start:stop] == small.token(number).removeprefix("##")


@given(st.text(max_size=60))
def test_offsets_go_forward_within_any_text(small: WordPiece, text: str) -> None:
    starts, stops = small.encode(text).offsets.T
    assert np.all(starts < stops)
    assert np.all(stops[:-1] <= starts[1:])
    assert np.all(stops <= len(text))


def test_offsets_count_characters_of_the_text_as_it_was(small: WordPiece) -> None:
    text = "😀 Zürich, ZU\u0308RICH 北the"
    tokens = small.encode(text)
    found = [
        (small.token(i), text[a:b]) for i, (a, b) in zip(tokens.ids, tokens.offsets, strict=True)
    ]
    assert found == [
        ("[UNK]", "😀"),
        ("zurich", "Zürich"),
        (",", ","),
        ("zurich", "ZU\u0308RICH"),
        ("北", "北"),
        ("the", "the"),
    ]


# Ids to text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS[:3])
def test_decoding_gives_the_words_back_in_lower_case(trained: WordPiece, text: str) -> None:
    ids = trained.encode(text).ids
    assert trained.unk_id not in ids
    kept = "".join(trained.decode(ids).split())
    assert kept == "".join(text.lower().split())


def test_decoding_joins_pieces_and_shows_special_tokens(small: WordPiece) -> None:
    ids = [small.cls_id, *small.encode("the seaside").ids, small.mask_id, small.sep_id]
    assert small.decode(ids) == "[CLS] the seaside [MASK] [SEP]"


def test_pieces_that_go_on_a_word_are_marked(small: WordPiece) -> None:
    assert small.is_continuation.tolist() == [word.startswith("##") for word in VOCAB]


def test_every_token_has_one_id(trained: WordPiece) -> None:
    names = [trained.token(number) for number in range(trained.vocab_size)]
    assert [trained.inner.token_to_id(name) for name in names] == list(range(len(names)))


# Training -----------------------------------------------------------------------------------------


def test_special_tokens_come_first(trained: WordPiece) -> None:
    ids = [trained.pad_id, trained.unk_id, trained.cls_id, trained.sep_id, trained.mask_id]
    assert ids == [0, 1, 2, 3, 4]


def test_training_fills_the_vocabulary_to_the_size_asked_for() -> None:
    # 46 letters and pieces of them, and the five special tokens, leave room for merges.
    assert WordPiece.train(TEXTS * 3, vocab_size=120).vocab_size == 120


def test_training_reads_an_iterator(trained: WordPiece) -> None:
    again = WordPiece.train((text for text in TEXTS), vocab_size=150)
    assert again.fingerprint == trained.fingerprint


def test_a_cased_vocabulary_tells_cases_apart(tmp_path: Path) -> None:
    cased = WordPiece.train(TEXTS * 3, vocab_size=150, lowercase=False)
    assert cased.encode("The").ids.tolist() != cased.encode("the").ids.tolist()
    cased.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert WordPiece.load(tmp_path).fingerprint == cased.fingerprint


def _tied_texts() -> list[str]:
    """Texts whose letter pairs are about equally frequent, so that nearly every merge is a tie."""
    draw = random.Random(0)
    words = ("".join(draw.choices("abcdefghijklmnop", k=6)) for _ in range(400))
    return [" ".join(words)]


def test_training_twice_on_the_same_texts_gives_the_same_vocabulary() -> None:
    first, second, third = (WordPiece.train(_tied_texts(), vocab_size=100) for _ in range(3))
    assert first.fingerprint == second.fingerprint == third.fingerprint


def test_training_in_another_process_gives_the_same_vocabulary() -> None:
    program = (
        "import sys; from openrealm.tokenizer import WordPiece;"
        "print(WordPiece.train([sys.argv[1]], vocab_size=100).fingerprint)"
    )
    text = _tied_texts()[0]
    done = subprocess.run(
        [sys.executable, "-c", program, text],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == WordPiece.train([text], vocab_size=100).fingerprint


# Files --------------------------------------------------------------------------------------------


def test_both_saved_files_give_the_same_tokenizer(trained: WordPiece, tmp_path: Path) -> None:
    trained.save(tmp_path / "new" / "folder")
    loaded = [
        WordPiece.load(tmp_path / "new" / "folder" / name)
        for name in ("tokenizer.json", "vocab.txt", ".")
    ]
    for other in loaded:
        assert other.fingerprint == trained.fingerprint
        assert other.encode_ids(TEXTS) == trained.encode_ids(TEXTS)
        assert np.array_equal(other.is_continuation, trained.is_continuation)


def test_the_starters_vocabulary_is_berts_and_read_as_the_library_reads_it() -> None:
    folder = starter_directory()
    ours = WordPiece.load(folder)
    theirs = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    assert ours.vocab_size == 30522
    for text in (*TEXTS[:3], "Łódź and Zürich, naïve COÖPERATION."):
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text).ids.tolist() == ids
    # Ids of BERT's uncased vocabulary, as everybody knows them.
    assert ours.encode("hello world").ids.tolist() == [7592, 2088]
    assert (ours.cls_id, ours.sep_id, ours.mask_id) == (101, 102, 103)


def test_a_path_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds neither tokenizer\.json nor vocab\.txt"):
        WordPiece.load(tmp_path)
    with pytest.raises(InputError, match=r"missing\.txt"):
        WordPiece.load(tmp_path / "missing.txt")


@pytest.mark.parametrize("content", ["{}", "not json", '{"model": {"type": "WordPiece"}}'])
def test_a_broken_tokenizer_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(str(path))):
        WordPiece.load(path)


def test_a_vocabulary_that_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"[PAD]\n\xff\xfe\n")
    with pytest.raises(InputError, match=re.escape(str(path))):
        WordPiece.load(path)


def test_a_vocabulary_without_a_special_token_is_refused_with_its_name(tmp_path: Path) -> None:
    path = _vocab_file(tmp_path, [word for word in VOCAB if word not in ("[MASK]", "[CLS]")])
    with pytest.raises(InputError, match=r"\[CLS\], \[MASK\]"):
        WordPiece.load(path)


def test_a_tokenizer_file_without_special_tokens_is_refused(tmp_path: Path) -> None:
    model = tokenizers.models.WordPiece({"[UNK]": 0, "[PAD]": 1, "a": 2}, unk_token="[UNK]")
    content = tokenizers.Tokenizer(model).to_str()
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"\[CLS\], \[SEP\], \[MASK\]"):
        WordPiece.load(tmp_path)


def test_a_tokenizer_that_is_not_wordpiece_is_refused(tmp_path: Path) -> None:
    words = {word: number for number, word in enumerate(SPECIAL_TOKENS)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    (tmp_path / "tokenizer.json").write_text(inner.to_str(), encoding="utf-8")
    with pytest.raises(InputError, match="WordPiece"):
        WordPiece.load(tmp_path)


def test_a_vocabulary_with_a_word_twice_is_refused(tmp_path: Path) -> None:
    # Else ids and the size of the vocabulary would disagree, and an embedding table be too small.
    with pytest.raises(InputError, match="river"):
        WordPiece.load(_vocab_file(tmp_path, [*VOCAB, "river", "last"]))


# Fingerprints -------------------------------------------------------------------------------------


def test_a_fingerprint_is_a_sha256(small: WordPiece) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", small.fingerprint)


def test_other_words_or_another_order_change_the_fingerprint(
    small: WordPiece, tmp_path: Path
) -> None:
    prints = {small.fingerprint}
    for words in ([*VOCAB, "more"], [*SPECIAL_TOKENS, *reversed(VOCAB[5:])]):
        prints.add(WordPiece.load(_vocab_file(tmp_path, words)).fingerprint)
    assert len(prints) == 3


def test_another_treatment_of_case_changes_the_fingerprint() -> None:
    texts = ["abc abd"]
    lower, cased = (
        WordPiece.train(texts, vocab_size=30, lowercase=lowercase) for lowercase in (True, False)
    )
    assert lower.inner.get_vocab() == cased.inner.get_vocab()
    assert lower.fingerprint != cased.fingerprint
