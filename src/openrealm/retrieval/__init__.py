"""From queries to chunks: embeddings of a whole corpus, dense candidates, BM25."""
