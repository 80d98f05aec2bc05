# As ata_vit_ssv2.py, with options that are not in the paper and follow known
# motion better (docs/guides/routes.md): support windows, and a third of the
# heads in place for motion within a patch. No model of this size was trained.
_base_ = 'ata_vit_ssv2.py'

model = dict(backbone=dict(temporal=dict(support_radius=1, route_heads=8)))
