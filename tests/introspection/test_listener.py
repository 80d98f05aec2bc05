# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import weakref

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch import nn
from torch.utils.checkpoint import checkpoint

from ata_mm.introspection import Listener, listener, temporal_taps
from ata_mm.introspection.listener import StreamOrder
from ata_mm.models import ATA, ATABackbone, TemporalModule
from ata_mm.ops import Alignment, align_frames
from tests.models.backbones.toys import MapModel
from tests.visualization import models

IN_ROUTE_ORDER = dict(type='ATA', zero_init=False, dealign=False)


@MODELS.register_module()
class OwnAlignment(TemporalModule):
    """A module that defines nothing but an alignment."""

    def __init__(self, **options):
        super().__init__()

    def alignment(self, x, position=None, grid=None):
        return align_frames(x, grid=grid)


@MODELS.register_module()
class OwnRouteOrder(OwnAlignment):
    """A module that only reorders the stream."""

    dealign = False

    def forward(self, x, position=None, grid=None, alignment=None):
        return alignment.align(x)


class Recorder(Listener):
    """Keeps all events."""

    def __init__(self):
        super().__init__()
        self.events, self.outputs = [], []

    def on_alignment(self, event):
        self.events.append(event)

    def on_output(self, output):
        self.outputs.append(output)

    @property
    def routes(self):
        return [event.alignment.routes for event in self.events]


class PatchRecorder(Listener):
    """Keeps the patches after each temporal module."""

    def __init__(self):
        super().__init__()
        self.patches, self.reads = [], []

    def taps(self, model):
        return temporal_taps(model)

    def on_patches(self, tap, x, read):
        self.patches.append(read(x)[0])
        self.reads.append((x, read))


def step(model, *views):
    """Run a recognizer on the views of one video."""
    batch = dict(inputs=[torch.cat(views)], data_samples=[ActionDataSample()])
    with torch.no_grad():
        return model.test_step(batch)


def recorded(model, *views):
    """Return the events of one forward pass, by a new listener."""
    recorder = Recorder()
    with recorder.attach(model):
        step(model, *views)
    return recorder.events


def same_routes(events, others):
    pairs = zip(events, others)
    return len(events) == len(others) and all(
        torch.equal(a.alignment.routes, b.alignment.routes) for a, b in pairs
    )


def hooks(model):
    return [
        hook
        for module in model.modules()
        for hook in (
            *module._forward_hooks.values(),
            *module._forward_pre_hooks.values(),
        )
    ]


def test_events_have_the_order_and_the_names_of_the_modules():
    events = recorded(models.vit(), models.clip())
    assert [event.name for event in events] == [
        f'backbone.blocks.{i}.temporal' for i in range(3)
    ]
    assert all(event.computed for event in events)


def test_features_are_those_that_are_matched():
    model, features = models.vit(dict(models.ATA, match_on='content')), []
    for block in model.backbone.blocks:
        block.temporal.aligner.register_forward_hook(
            lambda _, args, output: features.append(args[0])
        )
    for event, expected in zip(recorded(model, models.clip()), features):
        assert torch.equal(event.features, expected)


def test_blocks_that_share_an_alignment_report_it():
    model = models.vit(dict(models.ATA, share_alignment=2))
    first, second, third = recorded(model, models.clip())
    assert [first.computed, second.computed, third.computed] == [
        True,
        False,
        True,
    ]
    assert second.alignment is first.alignment is not third.alignment
    assert not torch.equal(second.features, first.features)


def test_a_module_of_ones_own_is_reported():
    model = models.vit(dict(type='OwnAlignment'))
    events = recorded(model, models.clip())
    assert len(events) == 3 and all(event.computed for event in events)
    expected = align_frames(events[0].features, grid=(4, 4)).routes
    assert torch.equal(events[0].alignment.routes, expected)


def test_a_module_that_is_called_by_itself_is_reported():
    module, x, recorder = ATA(8, 2), torch.randn(1, 3, 6, 8), Recorder()
    with recorder.attach(module):
        module(x)
        module(x, grid=(2, 3))
    assert [event.grid for event in recorder.events] == [None, (2, 3)]
    assert torch.equal(recorder.routes[0], align_frames(x).routes)


def test_modules_that_do_not_align_are_no_events():
    model = models.vit(dict(type='TemporalAttention'))
    assert recorded(model, models.clip()) == []


def test_output_is_that_of_the_model():
    model, recorder = models.vit(), Recorder()
    with recorder.attach(model):
        samples = step(model, models.clip())
    assert recorder.outputs == [samples]


def test_a_wrapper_is_not_part_of_the_model():
    model, recorder = models.vit(), Recorder()
    with recorder.attach(nn.DataParallel(model)):
        samples = step(model, models.clip())
    assert recorder.outputs == [samples]
    assert recorder.events[0].name == 'backbone.blocks.0.temporal'


def test_alignments_are_released_at_the_end_of_a_pass():
    model, references = models.vit(), []

    class Referring(Listener):
        def on_alignment(self, event):
            references.append(weakref.ref(event.alignment))

    with Referring().attach(model):
        step(model, models.clip())
        assert [reference() for reference in references] == [None] * 3


def test_order_is_reset_by_every_pass():
    model, first, second = models.vit(IN_ROUTE_ORDER), *two_clips()
    recorder = Recorder()
    with recorder.attach(model):
        step(model, first)
        recorder.events.clear()
        step(model, second)
    assert same_routes(recorder.events, recorded(model, second))


def test_order_is_reset_by_every_part_of_the_views():
    """Recognizers call the backbone several times in one forward pass."""
    model, clips = models.vit(IN_ROUTE_ORDER), two_clips()
    expected = [*recorded(model, clips[0]), *recorded(model, clips[1])]
    model.test_cfg = dict(max_testing_views=1)
    assert same_routes(recorded(model, *clips), expected)


def test_order_is_reset_by_a_backbone_that_is_called_by_itself():
    model, recorder = models.convnext(IN_ROUTE_ORDER), Recorder()
    with recorder.attach(model), torch.no_grad():
        x = torch.rand(1, 3, 4, 32, 32)
        model.backbone(x)
        model.backbone(x)
    once, again = recorder.events[:3], recorder.events[3:]
    assert same_routes(once, again)


def test_order_is_that_of_the_frames():
    """Attention that adds nothing: the stream is only reordered."""
    model = models.vit(dict(type='ATA', dealign=False))
    plain = models.vit(dict(type='ATA'))
    plain.load_state_dict(model.state_dict())
    clip = models.clip()
    events, expected = recorded(model, clip), recorded(plain, clip)
    assert same_routes(events, expected)
    for event, other in zip(events, expected):
        torch.testing.assert_close(event.features, other.features)


def test_order_of_a_module_of_ones_own_is_that_of_the_frames():
    model = models.vit(dict(type='OwnRouteOrder'))
    plain = models.vit(dict(type='OwnAlignment'))
    plain.load_state_dict(model.state_dict())
    clip = models.clip()
    assert same_routes(recorded(model, clip), recorded(plain, clip))


def test_order_is_not_carried_to_another_grid():
    model, own, features = models.convnext(IN_ROUTE_ORDER), [], []
    for module in model.backbone.temporal:
        module.register_forward_pre_hook(
            lambda _, args: own.append(args[3].routes)
        )
        module.register_forward_pre_hook(
            lambda _, args: features.append(args[0])
        )
    first, second, _ = recorded(model, models.clip())
    assert (first.grid, second.grid) == ((8, 8), (4, 4))
    assert torch.equal(first.alignment.routes, own[0])
    assert torch.equal(second.alignment.routes, own[1])
    assert torch.equal(second.features, features[1])


def test_order_depends_on_the_shape_of_the_grid():
    alignment = align_frames(torch.randn(1, 2, 16, 4))
    order, x = StreamOrder(alignment, (4, 4)), torch.randn(1, 2, 16, 4)
    assert order.at(x, (4, 4)) is order
    assert order.at(x, (2, 8)) == StreamOrder()
    assert order.at(x[:, :, :8], (4, 4)) == StreamOrder()


def test_order_of_an_alignment_is_undone():
    x = torch.randn(1, 3, 9, 4)
    stream = align_frames(x.flip(2))
    inner = align_frames(stream.align(x))
    order = StreamOrder(stream, (3, 3))
    assert torch.equal(order.restore(stream.align(x)), x)
    expected = inner.align(stream.align(x))
    assert torch.equal(order.restore_alignment(inner).align(x), expected)


def test_gradients_are_read_in_the_order_of_the_frames():
    model, recorder = models.vit(IN_ROUTE_ORDER), PatchRecorder()
    inputs = model.data_preprocessor(
        dict(inputs=[models.clip()], data_samples=[ActionDataSample()])
    )
    with recorder.attach(model):
        model(inputs['inputs'], stage='head')
    for patches, (x, read) in zip(recorder.patches, recorder.reads):
        assert not torch.equal(x, patches)
        assert torch.equal(read(x)[0], patches)  # long after the pass


@pytest.mark.parametrize('model', [models.vit, models.convnext])
def test_recomputation_is_no_event(model):
    model, recorder = model(with_cp=True).train(), Recorder()
    with recorder.attach(model):
        model.backbone(torch.rand(1, 3, 4, 32, 32)).sum().backward()
    assert len(recorder.events) == 3


@pytest.mark.parametrize('use_reentrant', [True, False])
def test_recomputation_by_the_image_model_is_no_event(use_reentrant):
    image = dict(type=MapModel, recompute=dict(use_reentrant=use_reentrant))
    model = ATABackbone(
        image, 'blocks.*', num_frames=4, img_size=32, head_dims=8
    )
    recorder, patches = Recorder(), PatchRecorder()
    with recorder.attach(model), patches.attach(model):
        model(torch.rand(1, 3, 4, 32, 32)).sum().backward()
    assert len(recorder.events) == len(patches.patches) == 2


def test_recomputed_matching_is_no_event():
    module, recorder, patches = ATA(8, 2), Recorder(), PatchRecorder()
    x = torch.rand(1, 2, 8, 8, requires_grad=True)
    with recorder.attach(module), patches.attach(module):
        y = checkpoint(module, x, None, (2, 4), use_reentrant=False)
        y.sum().backward()
    assert len(recorder.events) == len(patches.patches) == 1


def test_paused_listener_hears_nothing():
    model, recorder = models.vit(), Recorder()
    with recorder.attach(model):
        recorder.paused = True
        step(model, models.clip())
        assert not recorder.events and not recorder.outputs
        recorder.paused = False
        step(model, models.clip())
    assert len(recorder.events) == 3


def test_time_is_read_by_timed_listeners_only(monkeypatch):
    """Each reading synchronises the GPU."""
    readings = []
    monkeypatch.setattr(listener, 'now', lambda: readings.append(0) or 0.0)
    recorded(models.vit(), models.clip())
    assert not readings


def test_detach_leaves_no_hook():
    model = models.convnext()
    before = hooks(model)  # those of ATABackbone
    with PatchRecorder().attach(model):
        assert len(hooks(model)) > len(before)
    assert hooks(model) == before


def test_an_error_of_the_model_detaches():
    model = models.vit()
    with pytest.raises(ValueError, match='Expected clips'):
        recorded(model, models.clip(size=16))
    assert not hooks(model)


def test_attach_moves_the_listener():
    first, second, recorder = models.vit(), models.vit(), Recorder()
    recorder.attach(first)
    recorder.attach(second)
    assert hooks(second) and not hooks(first)


def test_listeners_are_independent():
    model, clip = models.vit(IN_ROUTE_ORDER), models.clip()
    outer = Recorder()
    with outer.attach(model):
        inner = recorded(model, clip)
    assert same_routes(outer.events, inner)


def test_listener_does_not_change_the_scores():
    model, clip = models.vit(), models.clip()
    (alone,) = step(model, clip)
    with PatchRecorder().attach(model):
        (observed,) = step(model, clip)
    assert torch.equal(alone.pred_score, observed.pred_score)


def test_compiled_model_reports_its_events_without_recompilation():
    model, x = models.vit(IN_ROUTE_ORDER), torch.rand(1, 3, 4, 32, 32)
    recorder, graphs = Recorder(), []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    with recorder.attach(model), torch.no_grad():
        model.backbone(x)
        compiled = torch.compile(model.backbone, backend=backend)
        compiled(x)
        number = len(graphs)
        compiled(x)
    plain, first, second = (recorder.events[i : i + 3] for i in (0, 3, 6))
    assert same_routes(first, plain) and same_routes(second, plain)
    assert len(graphs) == number


def test_a_soft_alignment_is_reported_as_it_is():
    temporal = dict(models.ATA, matcher='SinkhornMatcher')
    for event in recorded(models.vit(temporal), models.clip()):
        assert type(event.alignment) is not Alignment


def two_clips():
    torch.manual_seed(1)
    return models.clip(), models.clip()
