custom_imports = dict(imports='ata_mm')
default_scope = 'mmaction'
# Training runs that resume exactly and stop when they diverge.
runner_type = 'ResumableRunner'

default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', interval=1, save_best='auto', max_keep_ckpts=3
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
)
custom_hooks = [
    # Makes load_from accept bare models: official TimeSformer, ViTs of timm.
    dict(type='AdaptCheckpointHook'),
    # Skips videos that cannot be read; above 1 % of the samples, it stops.
    dict(type='BadVideoHook', limit=0.01),
]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)
visualizer = dict(
    type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend')]
)

log_level = 'INFO'
load_from = None
resume = False
