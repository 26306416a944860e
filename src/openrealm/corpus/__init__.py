"""The knowledge corpus: documents out of files, chunks out of documents, chunks on disk."""
