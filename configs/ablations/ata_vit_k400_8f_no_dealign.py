# Table 3, ATA without de-alignment: features stay in route order.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal=dict(dealign=False)))
