# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Image, video and HTML files of a clip and its observation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.fileio import put_text

from ata_mm.introspection import Block
from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid
from ata_mm.video import Clip, write_video

from .canvas import save_figure
from .doubts import doubtful_steps
from .matching import matching_figure
from .page import routes_page
from .responses import responses_figure, responses_images
from .routes import Patch, choose_patches, draw_routes, routes_figure


def write_routes(
    folder: Path,
    clip: Clip,
    blocks: Sequence[Block],
    chosen: Block,
    patches: Sequence[Patch] | None = None,
    pair: int | None = None,
    fps: float = 2.0,
    quality: int = 80,
    video: str = '',
    model: str = '',
) -> list[Path]:
    """Write routes.png, routes.mp4, matching.png and routes.html.

    Args:
        folder (Path): Folder of the files; created if missing.
        clip (Clip): The frames.
        blocks (Sequence[Block]): The blocks of the page; all of them align.
        chosen (Block): The one of them in the figures.
        patches (Sequence[tuple[int, int]], optional): Row and column of the
            patches of the first frame to follow. Defaults to None, five by
            :func:`choose_patches`.
        pair (int, optional): Index of the frame pair in matching.png. Defaults
            to None, the one in which most patches move.
        fps (float): Frames per second of the video. Defaults to 2.
        quality (int): JPEG quality of the frames in the page, 1 to 100.
            Defaults to 80.
        video (str): Name of the video, for the page. Defaults to ''.
        model (str): Name of the model, for the page. Defaults to ''.

    Returns:
        list[Path]: The files.

    Raises:
        ValueError: If a patch or the frame pair is out of range, a block does
            not align, or the clip has one frame.
    """
    alignment, _ = chosen.aligned()
    if alignment.shape[1] < 2:
        raise ValueError(
            'Expected a clip of two frames or more, to show routes through '
            'them, got one frame. Set num_frames of the model and clip_len of '
            'its pipelines.'
        )
    similarity = chosen.similarity()
    patches = patches or choose_patches(alignment, chosen.grid, similarity)
    if pair is None:
        pair = most_motion(alignment, chosen.grid)
    # Everything is drawn before the first file is written: an option that is
    # wrong then leaves no files.
    figures = {
        'routes.png': routes_figure(
            clip.frames,
            alignment,
            chosen.grid,
            patches,
            similarity,
            labels=clip.labels,
        ),
        'matching.png': matching_figure(
            clip.frames, chosen, pair, clip.labels
        ),
    }
    images = draw_routes(
        clip.frames, alignment, chosen.grid, patches, similarity, width=640
    )
    page = routes_page(
        clip.frames,
        blocks,
        patches,
        list(blocks).index(chosen),
        clip.numbers,
        video,
        model,
        quality,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        save_figure(figure, folder / name)
    write_video(folder / 'routes.mp4', images, fps)
    put_text(page, folder / 'routes.html')
    names = (*figures, 'routes.mp4', 'routes.html')
    return [folder / name for name in names]


def most_motion(alignment: Alignment, grid: Grid) -> int:
    """Return the frame pair in which most patches move.

    Doubtful and rejected steps do not count.

    Args:
        alignment (Alignment): Of one clip of two frames or more, (1, T, N).
        grid (tuple[int, int]): Rows and columns of the patches.
    """
    moves = alignment.places[0].diff(dim=0) != 0  # (T-1, N)
    sure = alignment.accepted[0, 1:] & ~doubtful_steps(alignment, grid)[0]
    return int((moves & sure).sum(-1).argmax())


def write_heat_maps(
    stem: Path,
    clip: Clip,
    maps: dict[str, np.ndarray],
    title: str,
    fps: float = 2.0,
) -> list[Path]:
    """Write heat maps of several models side by side, as png and mp4.

    Args:
        stem (Path): Path of the files without suffix; the folder is created if
            missing.
        clip (Clip): The frames.
        maps (dict[str, np.ndarray]): (T, rows, columns) by model.
        title (str): Title of the figure.
        fps (float): Frames per second of the video. Defaults to 2.

    Returns:
        list[Path]: The files.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    # Not with_suffix: names of models may contain dots.
    files = [Path(f'{stem}.png'), Path(f'{stem}.mp4')]
    figure = responses_figure(clip.frames, maps, clip.labels, title)
    save_figure(figure, files[0])
    write_video(files[1], responses_images(clip.frames, maps), fps)
    return files
