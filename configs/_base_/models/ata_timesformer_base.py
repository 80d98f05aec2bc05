# ViT-B/16 with ATA before the spatial attention of every block.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ATATimeSformer',
        num_frames=8,
        img_size=224,
        patch_size=16,
        embed_dims=768,
        num_heads=12,
        num_layers=12,
        drop_path_rate=0.1,  # not stated in the paper
        temporal=dict(type='ATA'),
        # ImageNet-21K, in timm's keys; a local path is possible.
        pretrained='https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/jx_vit_base_patch16_224_in21k-e5005f0a.pth',
    ),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=400,
        in_channels=768,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW',
    ),
    # As many views at once as clips in a training batch.
    test_cfg=dict(max_testing_views=8),
)
