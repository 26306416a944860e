"""A workspace as one object: what goes into its calls, what is asked, and what comes out."""
