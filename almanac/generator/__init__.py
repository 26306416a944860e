"""Turn the fact tables of the almanac into articles, queries and questions.

The package knows the tables in ``almanac/facts`` and plain Python; it knows nothing of tokens,
models or of the ``openrealm`` package that carries its output.
"""
