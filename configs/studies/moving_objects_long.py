# Moving objects with twice the training: in `moving_objects`, seeds differ by
# when they learn the task.
_base_ = 'moving_objects.py'

title = 'Moving objects, 16 epochs, top-1 by speed: 8 classes, chance 0.125'
options = {'train_cfg.max_epochs': 16}

# For all arms: the learning rate and the scales that the arms of
# `moving_objects` chose.
arms = {
    name: dict(
        grid=[
            {
                'optim_wrapper.optimizer.lr': [2e-3],
                'model.backbone.position_std': [1.0, 2.0],
            }
        ]
    )
    for name in _base_.arms
}
