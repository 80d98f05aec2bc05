# A model for 24 x 24 pixel clips that learns on a CPU in minutes. It starts
# from scratch: the temporal branch is not zero at first, and position and time
# can be read beside the content of a patch.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ATATimeSformer',
        num_frames=8,
        img_size=24,
        patch_size=4,
        embed_dims=48,
        num_heads=3,
        num_layers=3,
        drop_path_rate=0.,
        position_std=0.5,
        temporal=dict(type='ATA', match_on='content', zero_init=False)),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=8,
        in_channels=48,
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[40., 40., 40.],
        format_shape='NCTHW'))
