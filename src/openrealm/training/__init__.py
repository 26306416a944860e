"""Training: batches to losses, the loop, checkpoints, and refreshing the index beside it."""
