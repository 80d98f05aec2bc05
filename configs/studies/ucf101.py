# When does ATA help? Real videos, for those who have them: not run here.
# Settings are the paper's for every arm, without a choice: UCF101 has no
# validation split. Curves are those of the test split.
title = 'UCF101, split 1, top-1 and top-5: 101 classes'
config = 'configs/real/ata_vit_ucf101.py'
seeds = [0, 1, 2]

_temporal = 'model.backbone.temporal'
arms = {
    'averaging': dict(
        options={_temporal: dict(_delete_=True, type='TemporalAveraging')}
    ),
    'temporal attention': dict(
        options={_temporal: dict(_delete_=True, type='TemporalAttention')}
    ),
    'joint attention': dict(
        options={_temporal: dict(_delete_=True, type='JointAttention')}
    ),
    'ATA': dict(),
    'refined ATA': dict(
        options={
            f'{_temporal}.support_radius': 1,
            f'{_temporal}.route_heads': 8,
        }
    ),
}
baseline = 'temporal attention'

metrics = {'top-1': 'acc/top1', 'top-5': 'acc/top5'}

# Sufficient to run every step.
smoke = {
    'train_dataloader.dataset.indices': 16,
    'val_dataloader.dataset.indices': 8,
    'test_dataloader.dataset.indices': 8,
    'train_cfg.max_epochs': 1,
    'train_cfg.val_begin': 1,
}
