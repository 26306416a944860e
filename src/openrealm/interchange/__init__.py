"""Other programs' files in and out: weights, blocks, vectors, the hub; knows no recipe."""
