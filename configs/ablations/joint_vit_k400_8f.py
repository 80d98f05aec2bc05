# Table 6, joint attention: self-attention over the patches of all frames.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal=dict(type='JointAttention')))
