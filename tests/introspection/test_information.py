# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.structures import ActionDataSample

from ata_mm.introspection import InformationProbe
from ata_mm.introspection.information import measure, measure_unrelated
from tests.visualization import models

KINDS = ('ATA', 'TemporalAttention', 'TemporalAveraging')
FAMILIES = [
    (models.vit, [16] * 3),
    (models.convnext, [64, 16, 16]),
    (models.cyclemlp, [64, 16]),
]


def probed(model, *videos, blocks='all', **options):
    """Return the values of each video, and the probe."""
    for key, value in options.items():
        model.test_cfg = {key: value}
    batch = dict(
        inputs=list(videos), data_samples=[ActionDataSample() for _ in videos]
    )
    with InformationProbe(model, blocks) as probe, torch.no_grad():
        model.test_step(batch)
    return probe.take(len(videos)), probe


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('family, patches', FAMILIES)
def test_every_block_is_measured(family, patches, kind):
    model = family(dict(type=kind))
    (values,), probe = probed(model, models.clip())
    blocks = {
        f'block{index}/{when}': num
        for index, num in enumerate(patches)
        for when in ('before', 'after')
    }
    ends = {'final': 16}
    if family is models.vit:
        ends['embedding'] = 16
    assert probe.num_patches == {**blocks, **ends}
    assert len(values) == 3 * len(probe.num_patches)


def test_joint_attention_and_necks_are_measured():
    for model, inputs, points in (
        (models.vit(dict(type='JointAttention')), models.clip(), [16] * 8),
        (models.tsn(), models.images(), [4] * 2),
    ):
        _, probe = probed(model, inputs)
        assert list(probe.num_patches.values()) == points


def test_points_are_in_the_order_of_the_model():
    _, probe = probed(models.vit(), models.clip(), blocks=[1])
    points = ['embedding', 'block1/before', 'block1/after', 'final']
    assert list(probe.num_patches) == points


def assert_measured(values, point, x):
    """The values of a point are those of its features."""
    for name, value in measure(x, 0.1, (4, 4)).items():
        found = values[f'{point}/{name}']
        assert found == pytest.approx(value.item(), rel=1e-3)


@pytest.mark.parametrize('kind', [*KINDS, 'JointAttention'])
def test_the_ends_are_those_of_table_4(kind):
    model, seen = models.vit(dict(type=kind)), []
    backbone = model.backbone
    for module in (backbone.patch_embed, backbone.blocks[-1]):
        module.register_forward_hook(lambda *call: seen.append(call[-1]))
    (values,), _ = probed(model, models.clip())
    embedding, final = seen
    assert_measured(values, 'embedding', embedding)
    assert_measured(values, 'final', final[:, :, 1:])
    # Otherwise the embedding could be measured with position and time.
    assert values['embedding/in_place'] != pytest.approx(
        values['block0/before/in_place'], rel=1e-3
    )


def test_the_features_are_those_around_the_module():
    model, seen = models.vit(), []
    model.backbone.blocks[1].temporal.register_forward_hook(
        lambda _, args, output: seen.extend([args[0], output])
    )
    (values,), _ = probed(model, models.clip(), blocks=[1])
    for when, x in zip(('before', 'after'), seen):
        assert_measured(values, f'block1/{when}', x)


def test_averaging_changes_nothing():
    model = models.convnext(dict(type='TemporalAveraging'))
    (values,), _ = probed(model, models.clip(), blocks=[2])
    for name in ('all_pairs', 'in_place', 'aligned'):
        assert (
            values[f'block2/before/{name}'] == values[f'block2/after/{name}']
        )


def test_a_video_has_the_mean_of_its_views():
    one, other, third = (models.clip() for _ in range(3))
    model = models.vit()
    (a, b), _ = probed(
        model,
        torch.cat([one, other]),
        torch.cat([third, other]),
        max_testing_views=3,
    )
    (c, d), _ = probed(model, one, other)
    for name in a:
        assert a[name] == pytest.approx((c[name] + d[name]) / 2, rel=1e-4)
        assert a[name] != b[name]


def test_values_are_returned_once():
    _, probe = probed(models.vit(), models.clip())
    assert probe.take(1) == [{}]


def probe_of(model, *batches):
    """Return the values of the videos of several batches."""
    values = []
    with InformationProbe(model) as probe, torch.no_grad():
        for videos in batches:
            samples = [ActionDataSample() for _ in videos]
            model.test_step(dict(inputs=videos, data_samples=samples))
            values += probe.take(len(videos))
    return values


def unrelated(values):
    """Return the values of the control."""
    return {k: v for k, v in values.items() if k.endswith('_unrelated')}


def test_control_pairs_a_video_with_the_previous_one():
    model, seen = models.vit(), []
    model.backbone.blocks[1].temporal.register_forward_hook(
        lambda _, args, output: seen.append(output)
    )
    _, values = probe_of(model, [models.clip(), models.clip()])
    (first, second), *_ = seen
    expected = measure_unrelated(second, first, 0.1, (4, 4))
    for name, value in expected.items():
        found = values[f'block1/after/{name}']
        assert found == pytest.approx(value, rel=1e-4)


def test_control_is_that_of_pairs_of_frames():
    x, other = torch.randn(2, 4, 16, 8)
    pairs = [
        measure(torch.stack([other[t], x[t + 1]])[None], 0.1, (4, 4))
        for t in range(3)
    ]
    for name, value in measure_unrelated(x, other, 0.1, (4, 4)).items():
        found = [pair[name[: -len('_unrelated')]].item() for pair in pairs]
        assert value == pytest.approx(sum(found) / 3)


def test_a_single_video_has_no_control():
    views = torch.cat([models.clip(), models.clip()])
    (values,) = probe_of(models.vit(), [views])
    assert values and not unrelated(values)


def test_control_does_not_depend_on_the_batches():
    model, videos = models.vit(), [models.clip() for _ in range(3)]
    together = probe_of(model, videos)
    apart = probe_of(model, *([video] for video in videos))
    for one, other in zip(together, apart):
        assert one == pytest.approx(other, rel=1e-4)
    assert unrelated(apart[1]) and unrelated(apart[2])


@pytest.mark.parametrize(
    'model, inputs, options',
    [
        (models.vit, models.clip, {}),
        (models.vit, models.clip, dict(max_testing_views=3)),
        (models.tsn, models.images, {}),
    ],
)
def test_control_is_with_the_last_view_of_the_other_video(
    model, inputs, options
):
    model = model()
    a, b, c = inputs(), inputs(), inputs()
    _, alone = probe_of(model, [b, c])
    model.test_cfg = options
    _, values = probe_of(model, [torch.cat([a, b]), torch.cat([c, c])])
    assert unrelated(values) == pytest.approx(unrelated(alone), rel=1e-4)


def test_videos_of_other_sizes_have_no_control():
    model = models.convnext()
    small, large = probe_of(model, [models.clip()], [models.clip(64)])
    assert not unrelated(large) and len(large) == len(small)


def test_alignment_raises_the_control_as_well():
    values = measure_unrelated(*torch.randn(2, 4, 16, 32), 0.1, (4, 4))
    assert values['aligned_unrelated'] > values['in_place_unrelated'] + 0.5


def test_frames_of_a_video_are_above_the_control():
    x, other = torch.randn(2, 1, 16, 32) + 0.3 * torch.randn(2, 4, 16, 32)
    control = measure_unrelated(x, other, 0.1, (4, 4))
    own = measure(x[None], 0.1, (4, 4))
    for name, value in own.items():
        assert value > control[f'{name}_unrelated'] + 0.5


def test_nothing_is_measured_afterwards():
    model = models.vit()
    _, probe = probed(model, models.clip())
    model.test_step(
        dict(inputs=[models.clip()], data_samples=[ActionDataSample()])
    )
    assert probe.take(1) == [{}]


def test_without_dealignment_positions_are_those_of_the_frames():
    """Attention that adds nothing: the stream is only reordered."""
    model, clip = models.vit(dict(type='ATA', dealign=False)), models.clip()
    (values,), _ = probed(model, clip)
    for index in range(3):
        assert values[f'block{index}/after/in_place'] == pytest.approx(
            values[f'block{index}/before/in_place'], rel=1e-4
        )


def test_routes_have_more_information_than_patches_in_place():
    values = measure(torch.randn(2, 4, 16, 32), 0.1, (4, 4))
    assert (values['aligned'] > values['in_place']).all()


@pytest.mark.parametrize('blocks', [[3], [-1], 'last', 1])
def test_unknown_blocks_are_refused(blocks):
    with pytest.raises(ValueError, match='indices from 0 to 2'):
        InformationProbe(models.vit(), blocks)


def test_a_model_without_temporal_modules_is_refused():
    with pytest.raises(ValueError, match='with temporal modules'):
        InformationProbe(torch.nn.Linear(2, 2))
