# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from ata_mm.checkpoints import LoadReport

REPORT = LoadReport(
    'some layout',
    loaded=['blocks.0.mlp.fc1.weight', 'blocks.11.mlp.fc1.bias', 'pos_embed'],
    interpolated=['image.layer2.3.bn1.running_mean'],
    left=['temporal.3.attn.qkv.weight'],
    dropped=['head.weight', 'head.bias'],
    head='left as initialised (5 classes here, 400 in the checkpoint)',
)


def test_every_kind_is_counted_and_named():
    assert str(REPORT).splitlines() == [
        'Checkpoint layout: some layout. Parameters:',
        '     3 loaded unchanged: blocks.*.mlp.fc1, pos_embed',
        '     1 interpolated: image.layer*.*.bn1',
        '     1 left as initialised: temporal.*.attn.qkv',
        '     2 dropped from the checkpoint: head',
        '  classifier: left as initialised (5 classes here, 400 in the '
        'checkpoint)',
    ]


def test_long_rows_are_wrapped():
    names = [f'layer{i}.weight' for i in range(40)]
    text = str(LoadReport('some layout', loaded=names))
    assert max(map(len, text.splitlines())) < 80
    assert 'layer39' in text
