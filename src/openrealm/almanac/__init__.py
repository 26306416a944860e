"""The bundled corpus: an almanac of true facts, with held-out queries and questions.

Names the data files and says where they are; knows nothing of how they are made (``almanac/`` in
the repository) nor of how they are read.
"""

from __future__ import annotations

from pathlib import Path

ARTICLES = "articles.jsonl"
"""Titled articles: ``{"id", "title", "text"}``."""

QUERIES = "queries.jsonl"
"""Held-out queries in words that no article uses:
``{"id", "text", "relation", "subject", "answers", "gold"}``; ``gold`` lists article ids."""

SECOND_QUERIES = "queries.second.jsonl"
"""Held-out queries like those, about other facts and in other words again, to check what was
chosen with those. The questions ask for these facts too, so measure before fine-tuning."""

QUESTIONS_TRAIN = "questions.train.jsonl"
"""Questions to learn from: ``{"question", "answer"}``, answers in a list."""

QUESTIONS_DEV = "questions.dev.jsonl"
"""Questions to measure with, about facts that no question to learn from and no
query of ``QUERIES`` asks for."""


def directory() -> Path:
    """Return the folder that holds the five files."""
    return Path(__file__).resolve().parent
