# ConvNeXt-Base with ATA before every block.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ATAConvNeXt',
        arch='base',
        num_frames=8,
        img_size=224,
        # As for the ViT; not stated in the paper.
        drop_path_rate=0.1,
        final_norm=True,  # norm of the classifier, loaded from the checkpoint
        # Heads of 32 channels, the default; not stated in the paper either.
        # The paper solves every matching exactly, which takes a second or more
        # per frame pair of 56 x 56 patches. This matcher is exact at 14 x 14
        # and 7 x 7 patches and nearly optimal at 56 x 56 and 28 x 28.
        temporal=dict(type='ATA', matcher=dict(type='CoarseToFineMatcher')),
        # ImageNet-22K; a local path is possible.
        pretrained='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth',
    ),
    cls_head=dict(
        type='I3DHead',
        num_classes=400,
        in_channels=1024,
        dropout_ratio=0.0,  # as in the classifier of the image model
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
    ),
    # As many views at once as clips in a training batch.
    test_cfg=dict(max_testing_views=8),
)
