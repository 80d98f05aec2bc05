# Tables 5 and 7, blocks 0-2: ATA in these, temporal attention in the others.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal_blocks=[0, 1, 2]))
