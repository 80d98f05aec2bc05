# Table 3, attention: each patch attends over its position in all frames. Also
# the first row of Tables 5 and 7, and "Factorized Attention" of Table 6.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal=dict(type='TemporalAttention')))
