# As ata_vit_camera_motion_mixed.py, with patches compared together with their
# neighbours, and with two of six heads in place, which see motion within a
# patch. Not in the paper.
_base_ = 'ata_vit_camera_motion_mixed.py'

model = dict(backbone=dict(temporal=dict(support_radius=1, route_heads=4)))
