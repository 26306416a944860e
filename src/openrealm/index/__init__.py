"""Maximum inner-product search over chunk embeddings; knows vectors and row numbers only."""
