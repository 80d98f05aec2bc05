# The three models of the quick start, five epochs each.
title = 'Camera motion, top-1 by speed: 8 classes, chance 0.125'

config = 'configs/ata_vit_camera_motion_mixed.py'  # unless an arm has its own
seeds = [0]
arms = {
    'temporal attention': dict(
        config='configs/attention_vit_camera_motion_mixed.py'
    ),
    'ATA': dict(),
    'refined ATA': dict(
        config='configs/ata_vit_camera_motion_mixed_refined.py'
    ),
}

# Columns of the table, by their key in the metrics.
metrics = dict(
    slow='acc/slow', medium='acc/medium', fast='acc/fast', all='acc/top1'
)

# Sufficient to run every step, too little to learn.
smoke = {
    'train_dataloader.dataset.num_videos': 64,
    'val_dataloader.dataset.num_videos': 32,
    'test_dataloader.dataset.num_videos': 32,
    'train_dataloader.dataset.data_root': 'data/camera_motion_mixed_fast',
    'val_dataloader.dataset.data_root': 'data/camera_motion_mixed_fast',
    'test_dataloader.dataset.data_root': 'data/camera_motion_mixed_fast',
    'train_cfg.max_epochs': 1,
    'train_cfg.val_begin': 1,
}
