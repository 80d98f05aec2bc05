# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""One page to look at routes by hand: no network, no other file."""
import base64
import json
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import cv2
import numpy as np

from ata_mm.introspection.observation import Block
from ata_mm.ops import neighbour_similarity

_DIGITS = np.frombuffer(
    b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
    np.uint8)


def routes_page(frames: Sequence[np.ndarray],
                blocks: Sequence[Block],
                patches: Sequence[Tuple[int, int]],
                block: int = 0,
                numbers: Optional[Sequence[int]] = None,
                video: str = '',
                model: str = '',
                quality: int = 80,
                width: int = 640,
                max_bytes: int = 5_000_000) -> str:
    """A page on which a click on a patch shows its route.

    It holds the frames and, of every block, the routes, the similarity of
    each step, and the similarities of all patches of neighbouring frames, the
    last in 64 levels and as far as ``max_bytes`` lets them: (T - 1) N^2 bytes
    a block.

    Args:
        frames (Sequence[np.ndarray]): T pictures (height, width, 3), uint8.
        blocks (Sequence[Block]): Those that align; at least one.
        patches (Sequence[tuple[int, int]]): Row and column of patches of frame
            0, to begin with; at least one.
        block (int): The place in ``blocks`` that the page starts with, on
            whose grid ``patches`` are. Defaults to 0.
        numbers (Sequence[int], optional): The frames' numbers in the video.
            Defaults to None, 0 to T - 1.
        video (str): Its name, for the title. Defaults to ''.
        model (str): Its name, likewise. Defaults to ''.
        quality (int): JPEG quality of the frames, 1 to 100. Defaults to 80.
        width (int): Greatest width of the frames in pixels. Defaults to 640.
        max_bytes (int): What the page may have. Frames, routes and steps are
            always there. Defaults to 5 000 000.

    Returns:
        str: HTML, to be written as UTF-8.
    """
    frames = [_shrink(frame, width) for frame in frames]
    data = dict(
        video=video,
        model=model,
        numbers=list(numbers or range(len(frames))),
        size=[frames[0].shape[1], frames[0].shape[0]],
        frames=[_jpeg(frame, quality) for frame in frames],
        block=block,
        patches=[list(patch) for patch in patches],
        blocks=[_pack_block(one) for one in blocks])
    template = Path(__file__).with_name('page.html').read_text('utf-8')
    room = max_bytes - len(template) - len(_dump(data))
    for entry, one in zip(data['blocks'], blocks):
        size = (len(frames) - 1) * (one.grid[0] * one.grid[1])**2 + 40
        if size <= room:
            entry.update(_pack_map(one))
            room -= size
    return template.replace('/*DATA*/', _dump(data))


def _pack_block(block: Block) -> dict:
    similarity = block.similarity()[0].cpu().numpy()
    return dict(
        index=block.index,
        name=block.name,
        grid=list(block.grid),
        routes=_text(block.alignment.routes[0].cpu().numpy(), np.uint16),
        steps=_text(np.rint(similarity * 32767), np.int16))


def _pack_map(block: Block) -> dict:
    """All similarities, a character each: 64 levels from least to most."""
    maps = neighbour_similarity(block.features)[0].cpu().numpy()
    low, high = float(maps.min()), float(maps.max())
    levels = np.rint((maps - low) * (63 / max(high - low, 1e-9)))
    text = _DIGITS[levels.astype(np.uint8)].tobytes().decode()
    return dict(map=text, range=[round(low, 4), round(high, 4)])


def _dump(data: dict) -> str:
    # A name with </script> in it would end the data.
    return json.dumps(data, separators=(',', ':')).replace('<', '\\u003c')


def _text(values: np.ndarray, dtype: type) -> str:
    little = values.astype(np.dtype(dtype).newbyteorder('<'))
    return base64.b64encode(little.tobytes()).decode()


def _jpeg(frame: np.ndarray, quality: int) -> str:
    options: List[int] = [cv2.IMWRITE_JPEG_QUALITY, quality]
    code = cv2.imencode('.jpg', frame[..., ::-1], options)[1]
    return 'data:image/jpeg;base64,' + base64.b64encode(code).decode()


def _shrink(frame: np.ndarray, width: int) -> np.ndarray:
    if frame.shape[1] <= width:
        return frame
    size = width, round(frame.shape[0] * width / frame.shape[1])
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
