"""A small tokenizer and small documents for the tests of the corpus."""

from __future__ import annotations

import pytest

from openrealm.corpus.records import Document
from openrealm.tokenizer import WordPiece

TEXTS = [
    "The river Nile flows north through Sudan and Egypt to the Mediterranean Sea.",
    "Khartoum stands where the White Nile and the Blue Nile meet, and lies in Sudan.",
    "Lake Victoria is the largest lake of Africa; its waters leave it at Jinja in Uganda.",
    "Mount Kenya is the second highest mountain of Africa. It was first climbed in 1899.",
    "Nairobi is the capital of Kenya. Trains reached the place in 1899, and a town grew there.",
]


@pytest.fixture(scope="session")
def tokenizer() -> WordPiece:
    return WordPiece.train(TEXTS, vocab_size=300)


@pytest.fixture
def documents() -> list[Document]:
    """Five documents of one or two sentences each."""
    return [
        Document(id=f"d{number}", title=f"Text {number}", text=text, source="texts.jsonl")
        for number, text in enumerate(TEXTS)
    ]
