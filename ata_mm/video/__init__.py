# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Video files and streams: find, decode, sample and write them.

No other part of the package opens or writes a video.
"""

from .clips import Clip, View, patchify, read_clip, read_view
from .containers import why_not_decord
from .decoders import DecordReader
from .files import check_video_file, find_videos
from .isolation import Workers
from .pipeline import FilePipeline, parse_views, set_views
from .pyav_reader import PyAVReader
from .reader import VideoError, VideoReader
from .reading import DECODERS, FrameSource, decoding, open_video
from .writing import VideoWriter, write_video

__all__ = [
    'Clip',
    'DECODERS',
    'DecordReader',
    'FilePipeline',
    'FrameSource',
    'PyAVReader',
    'VideoError',
    'VideoReader',
    'VideoWriter',
    'View',
    'Workers',
    'check_video_file',
    'decoding',
    'find_videos',
    'open_video',
    'parse_views',
    'patchify',
    'read_clip',
    'read_view',
    'set_views',
    'why_not_decord',
    'write_video',
]
