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
        drop_path_rate=0.1,
        temporal=dict(type='ATA')),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=400,
        in_channels=768,
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW'))
