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

QUESTIONS_TRAIN = "questions.train.jsonl"
"""Questions to learn from: ``{"question", "answer"}``, answers in a list."""

QUESTIONS_DEV = "questions.dev.jsonl"
"""Questions to measure with, about facts that no other question or query asks for."""


def directory() -> Path:
    """Return the folder that holds the four files."""
    return Path(__file__).resolve().parent
