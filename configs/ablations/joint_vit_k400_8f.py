# Table 6, joint attention: all patches of all frames in one attention.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal=dict(type='JointAttention')))
