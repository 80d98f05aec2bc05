# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Similarities that are given, or computed from features on demand.

`CoarseToFineMatcher` reads groups of rows and columns of them, and products
with vectors, never all of them.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..permutation import identity


class DenseSimilarity:
    """Similarities given as a tensor.

    Args:
        values (Tensor): (..., n, n), of frame pairs or of groups in them.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self.shape = values.shape[:-1]
        self.device = values.device

    def transposed(self) -> 'DenseSimilarity':
        """Swap the frames of each frame pair."""
        return DenseSimilarity(self.values.transpose(-1, -2))

    def select(self, rows: Tensor, columns: Tensor) -> 'DenseSimilarity':
        """Take groups of rows and of columns, (P, K, s) each."""
        # Index of the frame pair, to broadcast against rows and columns.
        pair = identity(len(rows), device=self.device)[:, None, None, None]
        values = self.values[pair, rows[..., None], columns[..., None, :]]
        return DenseSimilarity(values)  # (P, K, s, s)

    def dense(self) -> Tensor:
        """Return all similarities: (..., n, n)."""
        return self.values

    def blocks(self, pairs: slice, stride: int, size: int) -> Iterator[Tensor]:
        """Yield every stride-th row of frame pairs, ``size`` at a time."""
        yield from self.values[pairs, ::stride].split(size, 1)

    def times(self, weight: Tensor) -> Tensor:
        """Multiply by weights of the columns: (..., n) -> (..., n)."""
        return (self.values @ weight[..., None]).squeeze(-1)

    def matched(self, matching: Tensor) -> Tensor:
        """Return the similarity of each row to its match: (P, N)."""
        return self.values.gather(2, matching[..., None]).squeeze(2)


class FeatureSimilarity:
    """Similarities computed from features on demand.

    Args:
        source (Tensor): Normalised features (..., n, C).
        target (Tensor): Normalised features (..., n, C).
        least (float, optional): Similarities below are raised to it where sums
            of them are compared. Defaults to None.
    """

    def __init__(
        self, source: Tensor, target: Tensor, least: float | None = None
    ) -> None:
        self.source, self.target, self.least = source, target, least
        self.shape = source.shape[:-1]
        self.device = source.device

    def transposed(self) -> 'FeatureSimilarity':
        """Swap the frames of each frame pair."""
        return FeatureSimilarity(self.target, self.source, self.least)

    def select(self, rows: Tensor, columns: Tensor) -> 'FeatureSimilarity':
        """Take groups of rows and of columns, (P, K, s) each."""
        source, target = _take(self.source, rows), _take(self.target, columns)
        return FeatureSimilarity(source, target, self.least)

    def dense(self) -> Tensor:
        """Return all similarities: (..., n, n)."""
        return self._raised(self.source @ self.target.transpose(-1, -2))

    def blocks(self, pairs: slice, stride: int, size: int) -> Iterator[Tensor]:
        """Yield every stride-th row of frame pairs, ``size`` at a time."""
        target = self.target[pairs].transpose(1, 2)
        target = target.contiguous()  # a faster product
        # One buffer for all of them, which stays in the cache.
        buffer = target.new_empty(len(target), size, self.shape[1])
        for rows in self.source[pairs, ::stride].split(size, 1):
            yield torch.bmm(rows, target, out=buffer[:, : rows.shape[1]])

    def times(self, weight: Tensor) -> Tensor:
        """Multiply by weights of the columns: (..., n) -> (..., n)."""
        # Two small products instead of the n x n matrix.
        direction = self.target.transpose(-1, -2) @ weight[..., None]
        return (self.source @ direction).squeeze(-1)

    def matched(self, matching: Tensor) -> Tensor:
        """Return the similarity of each row to its match: (P, N)."""
        target = _take(self.target, matching)
        return self._raised(torch.linalg.vecdot(self.source, target))

    def _raised(self, values: Tensor) -> Tensor:
        return values if self.least is None else values.clamp_min(self.least)


Similarity = DenseSimilarity | FeatureSimilarity


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Take patches (P, N, C) by indices (P, ...) -> (P, ..., C)."""
    # One flat row index, as for the alignment of a clip.
    start = identity(len(x), device=x.device) * x.shape[1]
    index = index + start.view(-1, *(index.ndim - 1) * (1,))
    taken = x.reshape(-1, x.shape[-1]).index_select(0, index.flatten())
    return taken.view(*index.shape, -1)
