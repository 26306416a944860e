"""A workspace as one object, what goes into its calls, and what comes out."""
