"""The REALM model: tensors in, tensors out; no files of text, no index, no training loop.

Axis names used in every signature of this package: ``batch``, ``k`` (candidates, the null chunk
first), ``seq``, ``masks``, ``spans``, ``chunks``, ``dim`` (retrieval space), ``hidden``, ``vocab``.
"""
