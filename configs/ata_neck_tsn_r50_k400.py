# ATA on the last feature map of TSN: a recipe of MMAction2 and one line.
_base_ = 'mmaction::recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb.py'  # noqa: E501

custom_imports = dict(imports='ata_mm')
model = dict(neck=dict(type='ATANeck', embed_dims=2048, num_segments=8))

# Tested on the 8 segments of training, as one clip for each of ten crops; the
# base recipe tests on 25.
test_pipeline = _base_.test_pipeline
test_pipeline[1].update(num_clips=8)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
