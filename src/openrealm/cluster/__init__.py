"""The corpus embedded by many nodes."""
