# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Drawings of routes, matchings and responses.

Only `observe` and `class_activation` run a model, both by means of
:mod:`ata_mm.introspection`; the other functions draw their results.
"""

from ata_mm.introspection import Block, Observation, observe

from .cam import class_activation
from .doubts import doubtful_steps
from .matching import matching_figure
from .page import routes_page
from .responses import overlay, responses_figure
from .routes import choose_patches, draw_routes, routes_figure

__all__ = [
    'Block',
    'Observation',
    'choose_patches',
    'class_activation',
    'doubtful_steps',
    'draw_routes',
    'matching_figure',
    'observe',
    'overlay',
    'responses_figure',
    'routes_figure',
    'routes_page',
]
