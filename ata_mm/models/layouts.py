# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Feature layouts of image models, and the way to (B, T, N, C) and back."""
from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

Size = Tuple[int, int]
KINDS = ('NCHW', 'NHWC', 'NLC')

# More than the class token and registers of published ViTs. The grids of an
# image in whole patches lie further apart than that, but for tiny ones.
_MOST_PREFIX_TOKENS = 8


class Layout(NamedTuple):
    """How an image model lays out the features of B*T frames.

    'NCHW' and 'NHWC' are maps (B*T, C, H, W) and (B*T, H, W, C), of any size.
    'NLC' are tokens (B*T, P+H*W, C) of a fixed grid: P prefix tokens of the
    frame, its class token and registers, then its patches row by row. 'NC' is
    one vector a frame (B*T, C), a map of one patch.

    Args:
        kind (str): 'NCHW', 'NHWC', 'NLC' or 'NC'.
        channels (int): Channels C.
        grid (tuple[int, int]): Height and width of the map in patches; of
            'NCHW' and 'NHWC', in the example that the layout was found in.
        prefix_tokens (int): P of 'NLC'. Defaults to 0.
    """
    kind: str
    channels: int
    grid: Size
    prefix_tokens: int = 0

    def split(self, x: Tensor, num_frames: int) -> Tuple[Tensor, Size]:
        """Take the patches out of the features of frames.

        Args:
            x (Tensor): Features of B*T frames in this layout.
            num_frames (int): Frames a clip, T.

        Returns:
            tuple[Tensor, tuple[int, int]]: Patches (B, T, N, C), and their
            grid.

        Raises:
            ValueError: If x has another layout, or is not of whole clips.
        """
        self._check(x, num_frames)
        grid = self.grid
        if self.kind == 'NCHW':
            grid = tuple(x.shape[2:])
            patches = x.flatten(2).transpose(1, 2).contiguous()
        elif self.kind == 'NHWC':
            grid = tuple(x.shape[1:3])
            patches = x.flatten(1, 2)
        elif self.kind == 'NLC':
            patches = x[:, self.prefix_tokens:]
        else:
            patches = x[:, None]
        return patches.unflatten(0, (-1, num_frames)), grid

    def merge(self, patches: Tensor, x: Tensor) -> Tensor:
        """Undo `split`: (B, T, N, C) in the place of the patches of x, whose
        prefix tokens stay."""
        patches = patches.flatten(0, 1)  # (B*T, N, C)
        if self.kind == 'NCHW':
            maps = patches.transpose(1, 2).view(x.shape)
            # Convolutions go by the order in memory, so that it stays.
            return maps.contiguous() if x.is_contiguous() else maps
        if self.prefix_tokens:
            prefix = x[:, :self.prefix_tokens]
            return torch.cat([prefix, patches], dim=1)
        return patches.view(x.shape)

    def _check(self, x: Tensor, num_frames: int) -> None:
        height, width = self.grid
        expected = {
            'NCHW': ('B*T', self.channels, 'H', 'W'),
            'NHWC': ('B*T', 'H', 'W', self.channels),
            'NLC': ('B*T', self.prefix_tokens + height * width, self.channels),
            'NC': ('B*T', self.channels)
        }[self.kind]
        fits = x.ndim == len(expected) and all(
            isinstance(e, str) or e == n for e, n in zip(expected, x.shape))
        if not fits or len(x) % num_frames:
            raise ValueError(
                f'Expected features ({", ".join(map(str, expected))}) of '
                f'clips of T = num_frames = {num_frames} frames, in the '
                f'layout {self.kind} that they have at img_size, got '
                f'{tuple(x.shape)}.')


def find_layout(shape: Sequence[int],
                img_size: Size,
                layout: Union[str, dict] = 'auto',
                prefix_tokens: Optional[int] = None) -> Layout:
    """Tell the layout of a feature tensor from its shape.

    A map of 4 dimensions shows where it has the image's aspect. Tokens show
    their grid, and how many are no patches, where whole patches of the image
    leave only a few over.

    Args:
        shape (Sequence[int]): Shape of the features of one image.
        img_size (tuple[int, int]): Height and width of the image.
        layout (str | dict): 'auto', 'NCHW', 'NHWC' or 'NLC', or
            ``dict(kind='NLC', prefix_tokens=P)``. Defaults to 'auto'.
        prefix_tokens (int, optional): P that the model says it has, tried
            first where the dict does not say it. Defaults to None.

    Returns:
        Layout: Its grid is that of the shape.

    Raises:
        ValueError: If the features are no map in that layout, or the layout
            cannot be told.
    """
    kind, given = _read_option(layout)
    found: List[Layout] = []
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
        f'{"may be NCHW or NHWC" if found else "is no such map"}. Give '
        "layout='NCHW', layout='NHWC' or layout=dict(kind='NLC', "
        'prefix_tokens=P), P of the tokens being no patches, if it is one.')


def _read_option(layout: Union[str, dict]) -> Tuple[str, Optional[int]]:
    option = dict(kind=layout) if isinstance(layout, str) else dict(layout)
    kind, prefix_tokens = option.pop('kind',
                                     None), option.pop('prefix_tokens', None)
    if option or kind not in ('auto', *KINDS):
        raise ValueError(
            "Expected layout='auto' or one of "
            f"{KINDS}, or dict(kind='NLC', prefix_tokens=P), got {layout!r}.")
    return kind, prefix_tokens


def _skew(grid: Size, img_size: Size) -> float:
    """How many patches a grid is off the image's aspect."""
    height, width = img_size
    return abs(grid[0] * width - grid[1] * height) / max(img_size)


def _find_map(shape: Sequence[int], img_size: Size, kind: str) -> List[Layout]:
    _, a, b, c = shape
    layouts = [Layout('NCHW', a, (b, c)), Layout('NHWC', c, (a, b))]
    layouts = [one for one in layouts if kind in ('auto', one.kind)]
    skews = [_skew(one.grid, img_size) for one in layouts]
    best = min([1, *skews])  # sizes are rounded, by less than a patch
    return [one for one, skew in zip(layouts, skews) if skew <= best]


def _find_tokens(shape: Sequence[int], img_size: Size, given: Optional[int],
                 likely: Optional[int]) -> List[Layout]:
    _, length, channels = shape
    if given is not None:
        attempts = [(given, False)]
    else:
        attempts = [] if likely is None else [(likely, False)]
        attempts += [(n, True) for n in range(_MOST_PREFIX_TOKENS + 1)]
    for prefix, exact in attempts:
        grid = _find_grid(length - prefix, img_size, exact)
        if grid is not None:
            return [Layout('NLC', channels, grid, prefix)]
    return []


def _find_grid(num: int, img_size: Size, exact: bool) -> Optional[Size]:
    """The grid of N patches nearest to the image's aspect. ``exact`` asks for
    whole square patches, without which some grid fits almost any number."""
    grids = [(h, num // h) for h in range(1, num + 1) if num % h == 0]
    if not grids:
        return None
    grid = min(grids, key=lambda one: _skew(one, img_size))
    divides = all(pixels % n == 0 for pixels, n in zip(img_size, grid))
    limit = 0 if exact else 1
    fits = _skew(grid, img_size) <= limit and (divides or not exact)
    return grid if fits else None
