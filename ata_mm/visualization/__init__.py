# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Pictures of what the matching and the temporal modules do."""
from .routes import choose_patches, draw_routes, routes_figure

__all__ = ['choose_patches', 'draw_routes', 'routes_figure']
