# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Image, video and HTML files of a clip and its observation."""

from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np

from ata_mm.introspection import Block
from ata_mm.video import Clip, write_video

from .matching import matching_figure
from .page import routes_page
from .responses import responses_figure, responses_images
from .routes import Patch, choose_patches, draw_routes, routes_figure


def write_routes(
    folder: Path,
    clip: Clip,
    blocks: Sequence[Block],
    chosen: Block,
    patches: Optional[Sequence[Patch]] = None,
    pair: int = 0,
    fps: float = 2.0,
    quality: int = 80,
    video: str = '',
    model: str = '',
) -> List[Path]:
    """Write routes.png, routes.mp4, matching.png and routes.html.

    Args:
        folder (Path): Folder of the files; created if missing.
        clip (Clip): The frames.
        blocks (Sequence[Block]): The blocks of the page; all of them align.
        chosen (Block): The one of them in the figures.
        patches (Sequence[tuple[int, int]], optional): Row and column of the
            patches of the first frame to follow. Defaults to None, five by
            :func:`choose_patches`.
        pair (int): Index of the frame pair in matching.png. Defaults to 0.
        fps (float): Frames per second of the video. Defaults to 2.
        quality (int): JPEG quality of the frames in the page, 1 to 100.
            Defaults to 80.
        video (str): Name of the video, for the page. Defaults to ''.
        model (str): Name of the model, for the page. Defaults to ''.

    Returns:
        list[Path]: The files.

    Raises:
        ValueError: If a patch or the frame pair is out of range, or a block
            does not align.
    """
    alignment, features = chosen.aligned()
    similarity = chosen.similarity()
    patches = patches or choose_patches(
        clip.frames, chosen.grid, similarity=similarity[0]
    )
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
            clip.frames, alignment, features, chosen.grid, pair, clip.labels
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
        figure.savefig(folder / name)
    write_video(folder / 'routes.mp4', images, fps)
    (folder / 'routes.html').write_text(page, 'utf-8')
    names = (*figures, 'routes.mp4', 'routes.html')
    return [folder / name for name in names]


def write_heat_maps(
    stem: Path,
    clip: Clip,
    maps: Dict[str, np.ndarray],
    title: str,
    fps: float = 2.0,
) -> List[Path]:
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
    figure.savefig(files[0])
    write_video(files[1], responses_images(clip.frames, maps), fps)
    return files
