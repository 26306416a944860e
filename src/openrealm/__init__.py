"""REALM: a retriever and a reader learned together from unlabelled text."""
