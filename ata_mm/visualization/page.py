# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Interactive page of routes: one HTML file, without network access."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ata_mm.introspection import Block

from .doubts import doubtful_steps
from .routes import Patch

# Characters of the 64 similarity levels, the digits of base64.
_DIGITS = np.frombuffer(
    b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
    np.uint8,
)


def routes_page(
    frames: Sequence[np.ndarray],
    blocks: Sequence[Block],
    patches: Sequence[Patch],
    block: int = 0,
    numbers: Sequence[int] | None = None,
    video: str = '',
    model: str = '',
    quality: int = 80,
    width: int = 640,
    max_bytes: int = 5_000_000,
) -> str:
    """Return a page that shows the route of a patch on click.

    It contains the frames and, for every block, the routes, the similarity of
    each step, which steps are doubtful (see
    :func:`~ata_mm.visualization.doubtful_steps`) or rejected, and the
    similarities of all patches of neighbouring frames. The latter, in 64
    levels, take (T - 1) N^2 bytes per block, and are left out of blocks for
    which they would exceed ``max_bytes``.

    Args:
        frames (Sequence[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        blocks (Sequence[Block]): At least one; all of them align.
        patches (Sequence[tuple[int, int]]): Row and column of at least one
            patch of frame 0 to offer first.
        block (int): Index in ``blocks`` of the block shown first, whose grid
            ``patches`` refer to. Defaults to 0.
        numbers (Sequence[int], optional): Indices of the frames in the video.
            Defaults to None, 0 to T - 1.
        video (str): Name of the video, for the title. Defaults to ''.
        model (str): Name of the model, for the title. Defaults to ''.
        quality (int): JPEG quality of the frames, 1 to 100. Defaults to 80.
        width (int): Maximum width of the frames in pixels. Defaults to 640.
        max_bytes (int): Maximum size of the page. Frames, routes and steps are
            always included. Defaults to 5 000 000.

    Returns:
        str: HTML, to be written as UTF-8.

    Raises:
        ValueError: If a block does not align.
    """
    frames = [_shrink(frame, width) for frame in frames]
    packed = [_pack_block(one) for one in blocks]
    data = dict(
        video=video,
        model=model,
        numbers=list(numbers or range(len(frames))),
        size=[frames[0].shape[1], frames[0].shape[0]],
        frames=[_jpeg(frame, quality) for frame in frames],
        block=block,
        patches=[list(patch) for patch in patches],
        blocks=packed,
    )
    # The matrices, which are quadratic in N, get the remaining bytes.
    template = Path(__file__).with_name('page.html').read_text('utf-8')
    room = max_bytes - len(template) - len(_dump(data))
    for entry, one in zip(packed, blocks):
        # One character per similarity, and the keys of `_pack_map`.
        size = (len(frames) - 1) * (one.grid[0] * one.grid[1]) ** 2 + 40
        if size <= room:
            entry.update(_pack_map(one, len(frames) - 1))
            room -= size
    return template.replace('/*DATA*/', _dump(data))


def _pack_block(block: Block) -> dict[str, Any]:
    """Return the data of a block, numbers as 8- or 16-bit integers."""
    alignment, _ = block.aligned()
    data = dict(
        index=block.index,
        name=block.name,
        before=block.before,
        method=_describe(block),
        grid=list(block.grid),
        routes=_encode(alignment.routes[0], np.uint16),
        # Cosine similarities in -1..1 use the range of 16-bit integers.
        steps=_encode((block.similarity()[0] * 32767).round(), np.int16),
        doubts=_encode(doubtful_steps(alignment, block.grid)[0], np.uint8),
    )
    if not torch.equal(alignment.places, alignment.routes):
        data['places'] = _encode(alignment.places[0], np.uint16)
    if alignment.segments is not None:
        data['segments'] = _encode(alignment.segments[0], np.uint16)
    return data


def _describe(block: Block) -> str:
    """Describe how a block matches, by the options that differ from ATA's."""
    options = block.options
    parts = [f'{block.kind}: each frame is matched to {_reference(block)}']
    if options.get('refine'):
        parts.append(f'refined {options["refine"]} times')
    if block.support_radius:
        parts.append(f'support radius {block.support_radius}')
    if options.get('min_similarity') is not None:
        parts.append(
            f'matches up to similarity {options["min_similarity"]:g} are '
            'rejected'
        )
    return ', '.join(parts)


def _reference(block: Block) -> str:
    """Describe the frames that a block matches the others to."""
    reference = block.options.get('reference', 'previous')
    if reference in ('previous', 1):
        return 'the frame before it'
    if reference == 'first-or-previous':
        return 'the first frame, and where that is rejected to the one before'
    alignment, _ = block.aligned()
    if reference == 'first' or reference >= alignment.shape[1] - 1:
        return 'the first frame'
    return f'the last of frames 0, {reference}, {2 * reference}, … before it'


def _pack_map(block: Block, num_pairs: int) -> dict[str, Any]:
    """Return all similarities as text, one of 64 levels per character."""
    maps = np.concatenate(
        [block.similarity_map(t).cpu().numpy() for t in range(num_pairs)]
    )
    # Levels span the range of this block, which is often narrow.
    low, high = float(maps.min()), float(maps.max())
    levels = np.rint((maps - low) * (63 / max(high - low, 1e-9)))
    text = _DIGITS[levels.astype(np.uint8)].tobytes().decode()
    return dict(map=text, range=[round(low, 4), round(high, 4)])


def _dump(data: dict) -> str:
    # A name that contains </script> would end the data.
    return json.dumps(data, separators=(',', ':')).replace('<', '\\u003c')


def _encode(values: Tensor, dtype: type) -> str:
    """Encode numbers in base64, little-endian as JavaScript reads them."""
    little = values.cpu().numpy().astype(np.dtype(dtype).newbyteorder('<'))
    return base64.b64encode(little.tobytes()).decode()


def _jpeg(frame: np.ndarray, quality: int) -> str:
    options: list[int] = [cv2.IMWRITE_JPEG_QUALITY, quality]
    bgr = frame[..., ::-1]  # as OpenCV expects
    code = cv2.imencode('.jpg', bgr, options)[1].tobytes()
    return 'data:image/jpeg;base64,' + base64.b64encode(code).decode()


def _shrink(frame: np.ndarray, width: int) -> np.ndarray:
    if frame.shape[1] <= width:
        return frame
    size = width, round(frame.shape[0] * width / frame.shape[1])
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
