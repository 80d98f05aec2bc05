# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Interactive page of routes: one HTML file, without network access."""

import base64
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import cv2
import numpy as np

from ata_mm.introspection import Block
from ata_mm.ops import neighbour_similarity

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
    numbers: Optional[Sequence[int]] = None,
    video: str = '',
    model: str = '',
    quality: int = 80,
    width: int = 640,
    max_bytes: int = 5_000_000,
) -> str:
    """Return a page that shows the route of a patch on click.

    It contains the frames and, for every block, the routes, the similarity of
    each step, and the similarities of all patches of neighbouring frames. The
    latter, in 64 levels, take (T - 1) N^2 bytes per block, and are left out of
    blocks for which they would exceed ``max_bytes``.

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
            entry.update(_pack_map(one))
            room -= size
    return template.replace('/*DATA*/', _dump(data))


def _pack_block(block: Block) -> Dict[str, Any]:
    """Return the data of a block: 16-bit routes and similarities of steps."""
    alignment, _ = block.aligned()
    similarity = block.similarity()[0].cpu().numpy()
    return dict(
        index=block.index,
        name=block.name,
        grid=list(block.grid),
        routes=_encode(alignment.routes[0].cpu().numpy(), np.uint16),
        # Cosine similarities in -1..1 use the range of 16-bit integers.
        steps=_encode(np.rint(similarity * 32767), np.int16),
    )


def _pack_map(block: Block) -> Dict[str, Any]:
    """Return all similarities as text, one of 64 levels per character."""
    _, features = block.aligned()
    maps = neighbour_similarity(features)[0].cpu().numpy()
    # Levels span the range of this block, which is often narrow.
    low, high = float(maps.min()), float(maps.max())
    levels = np.rint((maps - low) * (63 / max(high - low, 1e-9)))
    text = _DIGITS[levels.astype(np.uint8)].tobytes().decode()
    return dict(map=text, range=[round(low, 4), round(high, 4)])


def _dump(data: dict) -> str:
    # A name that contains </script> would end the data.
    return json.dumps(data, separators=(',', ':')).replace('<', '\\u003c')


def _encode(values: np.ndarray, dtype: type) -> str:
    """Encode numbers in base64, little-endian as JavaScript reads them."""
    little = values.astype(np.dtype(dtype).newbyteorder('<'))
    return base64.b64encode(little.tobytes()).decode()


def _jpeg(frame: np.ndarray, quality: int) -> str:
    options: List[int] = [cv2.IMWRITE_JPEG_QUALITY, quality]
    bgr = frame[..., ::-1]  # as OpenCV expects
    code = cv2.imencode('.jpg', bgr, options)[1].tobytes()
    return 'data:image/jpeg;base64,' + base64.b64encode(code).decode()


def _shrink(frame: np.ndarray, width: int) -> np.ndarray:
    if frame.shape[1] <= width:
        return frame
    size = width, round(frame.shape[0] * width / frame.shape[1])
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
