# ATA on ViT-B/16, Kinetics-400, 32 frames, 3 x 1 views. Paper, Table 1: 81.4
# top-1, 95.5 top-5.
_base_ = [
    '_base_/models/ata_timesformer_base.py',
    '_base_/datasets/kinetics400_32x8.py', '_base_/schedules/sgd_30e.py',
    '_base_/default_runtime.py'
]

model = dict(
    backbone=dict(
        num_frames=32,
        # ViT-B/16 of ImageNet-21K with timm's keys; a local path serves too.
        pretrained=  # noqa: E251
        'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/jx_vit_base_patch16_224_in21k-e5005f0a.pth'  # noqa: E501
    ))
