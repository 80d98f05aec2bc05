# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Feature layouts of image models, converted to (B, T, N, C) and back."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ata_mm.ops.types import Grid

#: Height and width of an image in pixels.
ImageSize = tuple[int, int]

KINDS = ('NCHW', 'NHWC', 'NLC')

# Enough for the class token and registers of published ViTs, and unambiguous:
# the patch counts of two grids of whole patches differ by more than this,
# except for tiny grids.
_MAX_PREFIX_TOKENS = 8


class Layout(NamedTuple):
    """Arrangement of the features of B*T frames in an image model.

    'NCHW' and 'NHWC' are maps (B*T, C, H, W) and (B*T, H, W, C), of any size.
    'NLC' are tokens (B*T, P+H*W, C) of a fixed grid: P prefix tokens of the
    frame, its class token and registers, then its patches row by row. 'NC' is
    one vector per frame (B*T, C), a map of one patch.

    Args:
        kind (str): 'NCHW', 'NHWC', 'NLC' or 'NC'.
        channels (int): Channels C.
        grid (tuple[int, int]): Height and width of the map in patches; for
            'NCHW' and 'NHWC', those of the example that the layout was
            inferred from.
        prefix_tokens (int): P of 'NLC'. Defaults to 0.
    """

    kind: str
    channels: int
    grid: Grid
    prefix_tokens: int = 0

    def split(self, x: Tensor, num_frames: int) -> tuple[Tensor, Grid]:
        """Extract the patches from the features of frames.

        Args:
            x (Tensor): Features of B*T frames in this layout.
            num_frames (int): Frames per clip, T.

        Returns:
            tuple[Tensor, tuple[int, int]]: Patches (B, T, N, C), and their
            grid.

        Raises:
            ValueError: If x has another layout, or the number of frames is
                not a multiple of T.
        """
        self._check(x, num_frames)
        grid = self.grid
        if self.kind == 'NCHW':
            grid = (x.shape[2], x.shape[3])
            # One copy here, instead of one in each of the following layers.
            patches = x.flatten(2).transpose(1, 2).contiguous()
        elif self.kind == 'NHWC':
            grid = (x.shape[1], x.shape[2])
            patches = x.flatten(1, 2)
        elif self.kind == 'NLC':
            patches = x[:, self.prefix_tokens :]
        else:
            patches = x[:, None]
        return patches.unflatten(0, (-1, num_frames)), grid

    def merge(self, patches: Tensor, x: Tensor) -> Tensor:
        """Undo `split`, with new values of the patches.

        Args:
            patches (Tensor): (B, T, N, C).
            x (Tensor): The features that were split.

        Returns:
            Tensor: Shape, prefix tokens and memory format of x.
        """
        patches = patches.flatten(0, 1)  # (B*T, N, C)
        if self.kind == 'NCHW':
            maps = patches.transpose(1, 2).view(x.shape)
            # The result of a transposition is channels-last, and convolutions
            # follow the memory format of their input: restore that of x.
            return maps.contiguous() if x.is_contiguous() else maps
        if self.prefix_tokens:
            prefix = x[:, : self.prefix_tokens]
            return torch.cat([prefix, patches], dim=1)
        return patches.view(x.shape)

    def _check(self, x: Tensor, num_frames: int) -> None:
        height, width = self.grid
        expected = {
            'NCHW': ('B*T', self.channels, 'H', 'W'),
            'NHWC': ('B*T', 'H', 'W', self.channels),
            'NLC': ('B*T', self.prefix_tokens + height * width, self.channels),
            'NC': ('B*T', self.channels),
        }[self.kind]
        fits = x.ndim == len(expected) and all(
            isinstance(e, str) or e == n for e, n in zip(expected, x.shape)
        )
        if not fits or x.shape[0] % num_frames:
            raise ValueError(
                f'Expected features ({", ".join(map(str, expected))}) of '
                f'clips of T = num_frames = {num_frames} frames, in the '
                f'layout {self.kind} found at img_size, got '
                f'{tuple(x.shape)}.'
            )


def find_layout(
    shape: Sequence[int],
    img_size: ImageSize,
    layout: str | dict = 'auto',
    prefix_tokens: int | None = None,
) -> Layout:
    """Infer the layout of a feature tensor from its shape.

    In a map of four dimensions, height and width are the two that have the
    aspect ratio of the image. For tokens, prefix tokens are those that remain
    when the others form a grid of whole patches of the image.

    Args:
        shape (Sequence[int]): Shape of the features of one image.
        img_size (tuple[int, int]): Height and width of the image.
        layout (str | dict): 'auto', 'NCHW', 'NHWC' or 'NLC', or
            ``dict(kind='NLC', prefix_tokens=P)``. Defaults to 'auto'.
        prefix_tokens (int, optional): P according to the model, tried first
            unless ``layout`` gives it. Defaults to None.

    Returns:
        Layout: Its grid is that of the shape.

    Raises:
        ValueError: If the features are not a map in that layout, or the shape
            is ambiguous.
    """
    kind, given = _read_option(layout)
    found: list[Layout] = []
    # Inside a model that cuts images into windows it is their number.
    if shape[0] == 1:
        if len(shape) == 4:
            found = _find_map(shape, img_size, kind)
        elif len(shape) == 3:
            found = _find_tokens(shape, img_size, given, prefix_tokens)
        elif len(shape) == 2:
            found = [Layout('NC', shape[1], (1, 1))]
    if len(found) == 1 and kind in ('auto', found[0].kind):
        return found[0]
    height, width = img_size
    raise ValueError(
        f'Expected features of one image of {height}x{width} pixels in layout='
        f'{layout!r}, got the shape {tuple(shape)}, which '
        f'{"may be NCHW or NHWC" if found else "is not such a map"}. Set '
        "layout='NCHW', layout='NHWC' or layout=dict(kind='NLC', "
        'prefix_tokens=P), with P tokens that are not patches.'
    )


def _read_option(layout: str | dict) -> tuple[str, int | None]:
    option: dict[str, Any] = (
        dict(layout) if isinstance(layout, dict) else dict(kind=layout)
    )
    kind = option.pop('kind', None)
    prefix_tokens = option.pop('prefix_tokens', None)
    if option or kind not in ('auto', *KINDS):
        raise ValueError(
            "Expected layout='auto' or one of "
            f"{KINDS}, or dict(kind='NLC', prefix_tokens=P), got {layout!r}."
        )
    return kind, prefix_tokens


def _skew(grid: Grid, img_size: ImageSize) -> float:
    """Deviation of a grid from the image's aspect ratio, in patches."""
    # 0 if both ratios are equal, below 1 if one side was rounded to patches.
    height, width = img_size
    return abs(grid[0] * width - grid[1] * height) / max(img_size)


def _find_map(
    shape: Sequence[int], img_size: ImageSize, kind: str
) -> list[Layout]:
    _, a, b, c = shape
    layouts = [Layout('NCHW', a, (b, c)), Layout('NHWC', c, (a, b))]
    layouts = [one for one in layouts if kind in ('auto', one.kind)]
    skews = [_skew(one.grid, img_size) for one in layouts]
    # Strided layers round sizes, by less than a patch.
    best = min([1, *skews])
    return [one for one, skew in zip(layouts, skews) if skew <= best]


def _find_tokens(
    shape: Sequence[int],
    img_size: ImageSize,
    given: int | None,
    likely: int | None,
) -> list[Layout]:
    _, length, channels = shape
    # A number that is stated may go with a grid of incomplete patches; a
    # number that is guessed must not, since such a grid fits almost any.
    if given is not None:
        attempts = [(given, False)]
    else:
        attempts = [] if likely is None else [(likely, False)]
        attempts += [(n, True) for n in range(_MAX_PREFIX_TOKENS + 1)]
    for prefix, exact in attempts:
        grid = _find_grid(length - prefix, img_size, exact)
        if grid is not None:
            return [Layout('NLC', channels, grid, prefix)]
    return []


def _find_grid(num: int, img_size: ImageSize, exact: bool) -> Grid | None:
    """Return the grid of N patches closest to the image's aspect ratio.

    Args:
        num (int): Number of patches N.
        img_size (tuple[int, int]): Height and width of the image.
        exact (bool): Accept only whole square patches.
    """
    # Every factorisation of N, of which the aspect ratio decides.
    grids = [(h, num // h) for h in range(1, num + 1) if num % h == 0]
    if not grids:
        return None
    grid = min(grids, key=lambda one: _skew(one, img_size))
    divides = all(pixels % n == 0 for pixels, n in zip(img_size, grid))
    limit = 0 if exact else 1
    fits = _skew(grid, img_size) <= limit and (divides or not exact)
    return grid if fits else None
