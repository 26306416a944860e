"""The three input templates of REALM and their padding; knows ids, not text.

    query   [CLS] x [SEP]                        segments 0
    chunk   [CLS] title [SEP] body [SEP]         segments 0 up to the first [SEP], then 1
    joint   [CLS] x [SEP] body [SEP]             segments 0 up to the first [SEP], then 1

Source: realm/featurization.py of google-research/language. The reader never sees the title, and
the query comes first, so that a mask has the same position beside every candidate. Masks may
be left out of the query input, which the embedder reads, and never of the joint one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openrealm.tokenizer import WordPiece

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Inputs:
    """Padded rows for a BERT; ``attention_mask`` is True at real tokens."""

    token_ids: Int[Tensor, "rows seq"]
    segment_ids: Int[Tensor, "rows seq"]
    attention_mask: Bool[Tensor, "rows seq"]

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.token_ids.shape[0])

    @property
    def lengths(self) -> Int[Tensor, " rows"]:
        """Real tokens of each row."""
        return self.attention_mask.sum(dim=1)

    def rows(self, rows: Int[Tensor, " some"]) -> Inputs:
        """The chosen rows, cut to the longest among them."""
        mask = self.attention_mask[rows]
        width = int(mask.sum(dim=1).max()) if len(rows) else 0
        return Inputs(
            token_ids=self.token_ids[rows, :width],
            segment_ids=self.segment_ids[rows, :width],
            attention_mask=mask[:, :width],
        )

    def to(self, device: torch.device | str) -> Inputs:
        """The same rows on a device."""
        return Inputs(
            token_ids=self.token_ids.to(device),
            segment_ids=self.segment_ids.to(device),
            attention_mask=self.attention_mask.to(device),
        )

    def packed(self, *, only: Bool[Tensor, "rows seq"] | None = None) -> Packed:
        """The same rows without padding.

        Args:
            only: Tokens to keep; the others are as if they were not there, but for the positions
                that they leave empty.
        """
        mask = self.attention_mask if only is None else self.attention_mask & only
        lengths = mask.sum(dim=1)
        order = torch.argsort(lengths, stable=True)
        ordered, mask = lengths[order], mask[order]
        starts = torch.empty_like(lengths)
        starts[order] = ordered.cumsum(dim=0) - ordered
        distinct, counts = torch.unique_consecutive(ordered, return_counts=True)
        blocks = zip(counts.tolist(), distinct.tolist(), strict=True)
        place = torch.arange(mask.shape[1], device=mask.device)
        return Packed(
            token_ids=self.token_ids[order][mask],
            segment_ids=self.segment_ids[order][mask],
            positions=place.expand_as(mask)[mask],
            rows=order[:, None].expand_as(mask)[mask],
            starts=starts,
            lengths=lengths,
            blocks=[(rows, length) for rows, length in blocks if length],
            width=mask.shape[1],
        )


@dataclass(frozen=True)
class Packed:
    """Rows laid end to end, the shortest first: what a BERT computes, and no padding.

    Attributes:
        token_ids: The tokens.
        segment_ids: Which part of its row each belongs to.
        positions: Its place in its row.
        rows: The number of its row, as rows were given.
        starts: Where each row begins, rows in the order in which they were given.
        lengths: Tokens of each, in that order.
        blocks: How many rows of which length follow each other.
        width: No position is beyond it.
    """

    token_ids: Int[Tensor, " tokens"]
    segment_ids: Int[Tensor, " tokens"]
    positions: Int[Tensor, " tokens"]
    rows: Int[Tensor, " tokens"]
    starts: Int[Tensor, " rows"]
    lengths: Int[Tensor, " rows"]
    blocks: Sequence[tuple[int, int]]
    width: int

    def pieces(self, most: int) -> list[Packed]:
        """The same in pieces of at most so many tokens, or of one row; starts stay the whole's."""
        sizes = [0]
        blocks: list[list[tuple[int, int]]] = [[]]
        for rows, length in self.blocks:
            while rows:
                fit = min(rows, max((most - sizes[-1]) // length, 0 if sizes[-1] else 1))
                if fit:
                    sizes[-1] += fit * length
                    blocks[-1].append((fit, length))
                    rows -= fit
                else:
                    sizes.append(0)
                    blocks.append([])
        if len(sizes) == 1:
            return [self]
        names = ("token_ids", "segment_ids", "positions", "rows")
        parts = zip(*(getattr(self, name).split(sizes) for name in names), strict=True)
        return [
            replace(self, **dict(zip(names, part, strict=True)), blocks=of_part)
            for part, of_part in zip(parts, blocks, strict=True)
        ]

    def padded(self, values: Float[Tensor, "tokens hidden"]) -> Float[Tensor, "rows seq hidden"]:
        """Values of the tokens in a table of rows, 0 where there is no token."""
        table = values.new_zeros((len(self.starts), self.width, values.shape[1]))
        return table.index_put((self.rows, self.positions), values)


@dataclass(frozen=True)
class Templates:
    """Joins token ids with ``[CLS]`` and ``[SEP]`` and pads them, within stated lengths.

    One object serves training, indexing and answering, so that a chunk is truncated in the same
    place wherever it is embedded.
    """

    cls_id: int
    sep_id: int
    pad_id: int
    query_tokens: int
    chunk_tokens: int
    left_out_id: int | None = None

    @classmethod
    def of(
        cls,
        tokenizer: WordPiece,
        *,
        query_tokens: int,
        chunk_tokens: int,
        query_masks: bool = True,
    ) -> Templates:
        """Templates with the special tokens of a tokenizer; query inputs with ``[MASK]`` or not."""
        return cls(
            cls_id=tokenizer.cls_id,
            sep_id=tokenizer.sep_id,
            pad_id=tokenizer.pad_id,
            query_tokens=query_tokens,
            chunk_tokens=chunk_tokens,
            left_out_id=None if query_masks else tokenizer.mask_id,
        )

    @property
    def joint_tokens(self) -> int:
        """Longest joint input: the query's share plus the chunk's, minus the second [CLS]."""
        return self.query_tokens + self.chunk_tokens - 1

    def query(self, queries: Sequence[Ids]) -> Inputs:
        """``[CLS] x [SEP]``; the tail of a query too long is cut."""
        room = self.query_tokens - 2
        if self.left_out_id is not None:
            queries = [ids[ids != self.left_out_id] for ids in queries]
        return self._padded([(ids[:room],) for ids in queries])

    def chunk(self, titles: Sequence[Ids], bodies: Sequence[Ids]) -> Inputs:
        """``[CLS] title [SEP] body [SEP]``; the body gets what the title leaves."""
        rows = []
        for title, body in zip(titles, bodies, strict=True):
            title = title[: self.chunk_tokens - 3]
            rows.append((title, body[: self.chunk_tokens - 3 - len(title)]))
        return self._padded(rows)

    def joint(self, queries: Sequence[Ids], bodies: Sequence[Ids]) -> Inputs:
        """``[CLS] x [SEP] body [SEP]`` for aligned sequences of queries and bodies."""
        query_room, body_room = self.query_tokens - 2, self.chunk_tokens - 2
        pairs = zip(queries, bodies, strict=True)
        return self._padded([(q[:query_room], b[:body_room]) for q, b in pairs])

    def _padded(self, rows: Sequence[tuple[Ids, ...]]) -> Inputs:
        lengths = [1 + sum(len(part) + 1 for part in parts) for parts in rows]
        shape = (len(rows), max(lengths, default=0))
        token_ids = np.full(shape, self.pad_id, dtype=np.int64)
        segment_ids = np.zeros(shape, dtype=np.int64)
        for number, parts in enumerate(rows):
            token_ids[number, 0] = self.cls_id
            at = 1
            for segment, part in enumerate(parts):
                stop = at + len(part)
                token_ids[number, at:stop] = part
                token_ids[number, stop] = self.sep_id
                segment_ids[number, at : stop + 1] = segment
                at = stop + 1
        real = np.arange(shape[1])[None, :] < np.asarray(lengths, dtype=np.int64)[:, None]
        return Inputs(
            token_ids=torch.from_numpy(token_ids),
            segment_ids=torch.from_numpy(segment_ids),
            attention_mask=torch.from_numpy(real),
        )
