# Table 5, blocks 3-5: ATA in these, temporal attention in the others.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal_blocks=[3, 4, 5]))
