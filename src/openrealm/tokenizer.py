"""WordPiece: text to token ids with character offsets, and back; knows nothing of models.

A thin layer over the `tokenizers` library that fixes what this package relies on: BERT's
normalisation and pre-tokenisation, the five special tokens, and a fingerprint that tells two
vocabularies apart. No special tokens are ever added here; the templates are in `models.inputs`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from openrealm.errors import InputError

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt")
_PREFIX = "##"
_SAMPLE = "Ünïcode, Text: 1234 [MASK] naïve COÖPERATION"


@dataclass(frozen=True)
class Tokens:
    """Token ids ``(seq,)`` and the characters ``(seq, 2)`` of the text that each stands for."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]


class WordPiece:
    """BERT's tokenizer over a vocabulary, without special tokens."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        """Wraps a `tokenizers.Tokenizer` whose model is WordPiece.

        Raises:
            InputError: Another model, or a vocabulary that lacks one of the special tokens.
        """
        if not isinstance(inner.model, models.WordPiece):
            kind = type(inner.model).__name__
            raise InputError(f"the tokenizer is a {kind} model; only WordPiece is supported")
        missing = [token for token in SPECIAL_TOKENS if inner.token_to_id(token) is None]
        if missing:
            raise InputError(f"the vocabulary lacks the special tokens {', '.join(missing)}")
        inner.no_padding()
        inner.no_truncation()
        # A document that quotes "[SEP]" or "[MASK]" is text like any other.
        inner.encode_special_tokens = True
        self.inner = inner
        vocab = inner.get_vocab()
        ids = [vocab[token] for token in SPECIAL_TOKENS]
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = ids

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int, lowercase: bool = True) -> WordPiece:
        """A vocabulary learned from texts, held in memory; a function of the texts alone."""
        texts = list(texts)
        inner = _bert_tokenizer(models.WordPiece(unk_token=UNK), lowercase=lowercase)
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            # The trainer breaks ties by number, and would number "##x" pieces in hash order.
            special_tokens=[*SPECIAL_TOKENS, *_continuing_characters(texts, inner)],
            continuing_subword_prefix=_PREFIX,
            show_progress=False,
        )
        inner.train_from_iterator(texts, trainer)
        # Rebuilt from its sorted vocabulary, without the trainer's own special tokens.
        vocab = inner.get_vocab()
        words = sorted(set(vocab) - set(SPECIAL_TOKENS), key=lambda w: (w.startswith(_PREFIX), w))
        ids = {word: number for number, word in enumerate([*SPECIAL_TOKENS, *words])}
        return cls(_bert_tokenizer(models.WordPiece(ids, unk_token=UNK), lowercase=lowercase))

    @classmethod
    def load(cls, path: Path) -> WordPiece:
        """The tokenizer of a ``tokenizer.json``, a ``vocab.txt``, or a folder with one of them.

        Raises:
            InputError: No such file, or not a WordPiece vocabulary.
        """
        path = Path(path)
        if path.is_dir():
            files = [path / name for name in VOCABULARY_FILES if (path / name).is_file()]
            if not files:
                raise InputError(f"{path} holds neither tokenizer.json nor vocab.txt")
            path = files[0]
        try:
            if path.suffix == ".json":
                return cls(tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8")))
            vocab = _read_vocabulary(path)
        except InputError:
            raise
        except Exception as error:  # the library raises plain Exception
            raise InputError(f"{path} is not a WordPiece vocabulary: {error}") from error
        lowercase = not any(word[:1].isupper() for word in vocab if len(word) > 1)
        return cls(_bert_tokenizer(models.WordPiece(vocab, unk_token=UNK), lowercase=lowercase))

    def save(self, directory: Path) -> None:
        """Writes ``tokenizer.json`` and, for other libraries, ``vocab.txt``."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tokenizer.json").write_text(self.inner.to_str(), encoding="utf-8")
        words = [self.token(number) for number in range(self.vocab_size)]
        (directory / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary, normaliser and pre-tokeniser."""
        spec = json.loads(self.inner.to_str())
        parts = [spec["model"], spec["normalizer"], spec["pre_tokenizer"]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return self.inner.get_vocab_size(with_added_tokens=True)

    @cached_property
    def is_continuation(self) -> npt.NDArray[np.bool_]:
        """``(vocab,)``: whether a token goes on a word (``##ing``)."""
        tokens = (self.token(number) for number in range(self.vocab_size))
        return np.fromiter((t.startswith(_PREFIX) for t in tokens), dtype=np.bool_)

    def encode(self, text: str) -> Tokens:
        """Token ids and character offsets of one text.

        Names of special tokens in the text are read as text: ``[MASK]`` becomes three tokens.
        """
        encoding = self.inner.encode(text, add_special_tokens=False)
        ids = np.asarray(encoding.ids, dtype=np.int32)
        offsets = np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)
        return Tokens(ids=ids, offsets=offsets)

    def encode_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, in parallel where the library can."""
        batch = self.inner.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in batch]

    def decode(self, ids: Sequence[int] | npt.NDArray[np.int32]) -> str:
        """Text of token ids, pieces joined to words; special tokens are kept."""
        return self.inner.decode([int(i) for i in ids], skip_special_tokens=False)

    def token(self, number: int) -> str:
        """The token with this id."""
        return str(self.inner.id_to_token(number))


def _bert_tokenizer(model: models.WordPiece, *, lowercase: bool) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(model)
    inner.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(prefix=_PREFIX)
    inner.add_special_tokens(list(SPECIAL_TOKENS))
    return inner


def _continuing_characters(texts: Sequence[str], inner: tokenizers.Tokenizer) -> list[str]:
    """``##x`` for every character x of the texts that can go on a word."""
    characters = "".join(sorted(set().union(*texts)))
    normal = sorted(set(inner.normalizer.normalize_str(characters)))
    split = inner.pre_tokenizer.pre_tokenize_str
    return [f"{_PREFIX}{c}" for c in normal if [w for w, _ in split(f"a{c}")] == [f"a{c}"]]


def _read_vocabulary(path: Path) -> dict[str, int]:
    words = [line.rstrip() for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")]
    vocab = {word: number for number, word in enumerate(words)}
    if len(vocab) < len(words):
        twice = next(word for number, word in enumerate(words) if vocab[word] != number)
        raise InputError(f"{path} has the word '{twice}' twice")
    missing = [token for token in SPECIAL_TOKENS if token not in vocab]
    if missing:
        raise InputError(f"{path} lacks the special tokens {', '.join(missing)}")
    return vocab


def agree(one: WordPiece, other: WordPiece) -> bool:
    """Whether both give the same ids; their files may differ in what changes none."""
    if one.fingerprint == other.fingerprint:
        return True
    same = one.inner.get_vocab() == other.inner.get_vocab()
    return same and one.encode_ids([_SAMPLE]) == other.encode_ids([_SAMPLE])
