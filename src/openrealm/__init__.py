"""REALM: a retriever and a reader learned together from unlabelled text."""

__version__ = "0.1.0"
