# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""From a clip and what was seen of it to picture, video and HTML files."""
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np

from ata_mm.introspection.observation import Block
from ata_mm.video.clips import Clip

from .canvas import save_video
from .matching import matching_figure
from .page import routes_page
from .responses import responses_figure, responses_images
from .routes import Patch, choose_patches, draw_routes, routes_figure


def write_routes(folder: Path,
                 clip: Clip,
                 blocks: Sequence[Block],
                 chosen: Block,
                 patches: Optional[Sequence[Patch]] = None,
                 pair: int = 0,
                 fps: float = 2.,
                 quality: int = 80,
                 video: str = '',
                 model: str = '') -> List[Path]:
    """Write routes.png, routes.mp4, matching.png and routes.html.

    Args:
        folder (Path): Where to; it is made.
        clip (Clip): The pictures.
        blocks (Sequence[Block]): Those that align, for the page.
        chosen (Block): The one of them that the pictures show.
        patches (Sequence[tuple[int, int]], optional): Row and column of the
            patches of the first frame to follow. Defaults to None, five that
            are worth it.
        pair (int): The frames whose matching is shown. Defaults to 0.
        fps (float): Frames a second of the video. Defaults to 2.
        quality (int): JPEG quality of the page. Defaults to 80.
        video (str): Name of the video, for the page. Defaults to ''.
        model (str): Name of the model, for the page. Defaults to ''.

    Returns:
        list[Path]: The files.

    Raises:
        ValueError: If a patch or the pair is not there.
    """
    similarity = chosen.similarity()
    patches = patches or choose_patches(
        clip.frames, chosen.grid, similarity=similarity[0])
    what = clip.frames, chosen.alignment, chosen.grid, patches, similarity
    # All before the first file, so that a wrong option leaves none.
    figures = {
        'routes.png':
        routes_figure(*what, labels=clip.labels),
        'matching.png':
        matching_figure(clip.frames, chosen.alignment, chosen.features,
                        chosen.grid, pair, clip.labels)
    }
    images = draw_routes(*what, width=640)
    page = routes_page(clip.frames, blocks, patches,
                       list(blocks).index(chosen), clip.numbers, video, model,
                       quality)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / name)
    save_video(folder / 'routes.mp4', images, fps)
    (folder / 'routes.html').write_text(page, 'utf-8')
    names = (*figures, 'routes.mp4', 'routes.html')
    return [folder / name for name in names]


def write_heat_maps(stem: Path,
                    clip: Clip,
                    maps: Dict[str, np.ndarray],
                    title: str,
                    fps: float = 2.) -> List[Path]:
    """Write maps of several models side by side, as PNG and as mp4.

    Args:
        stem (Path): The files without their suffixes; the folder is made.
        clip (Clip): The pictures.
        maps (dict[str, np.ndarray]): (T, rows, columns) by model.
        title (str): What they are.
        fps (float): Frames a second of the video. Defaults to 2.

    Returns:
        list[Path]: The files.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [Path(f'{stem}.png'), Path(f'{stem}.mp4')]
    figure = responses_figure(clip.frames, maps, clip.labels, title)
    figure.savefig(files[0])
    save_video(files[1], responses_images(clip.frames, maps), fps)
    return files
