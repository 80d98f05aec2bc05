# Table 7, blocks 0-5: ATA there, temporal attention elsewhere.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal_blocks=[0, 1, 2, 3, 4, 5]))
