# The same with the image model fine-tuned at a tenth of the learning rate.
_base_ = 'photo_motion.py'

title = 'Photo motion, fine-tuned image model, top-1 by speed: chance 0.125'
config = 'configs/photos/ata_efficientnet_photo_motion_finetuned.py'
# Without the lowest of `photo_motion`.
_grid = {'optim_wrapper.optimizer.lr': [1e-3, 3e-3, 1e-2]}
arms = {
    name: dict(_base_.arms[name], grid=_grid)
    for name in ('temporal attention', 'ATA')
}
arms['_delete_'] = True
