# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.cli.study_report import (
    difference,
    group_table,
    plot_curves,
    plot_routes,
    plot_speed,
    result_table,
    route_table,
    trial_table,
)


def result(arm, seed, accuracy, seconds=60.0):
    curve = [dict(epoch=2, all=accuracy / 2), dict(epoch=4, all=accuracy)]
    return dict(
        arm=arm,
        seed=seed,
        metrics=dict(all=accuracy),
        curve=curve,
        train_seconds=seconds,
        correct='1' * round(10 * accuracy) + '0' * round(10 - 10 * accuracy),
        speeds=list(range(10)),
        setting={'optimizer.lr': seed},
    )


RESULTS = [
    result('ATA', 0, 0.8),
    result('ATA', 1, 0.9, seconds=None),
    result('attention', 0, 0.75, seconds=None),
]


def test_table_summarizes_the_seeds_of_each_arm():
    header, rows = result_table(RESULTS, ['all'])
    assert header == ['', 'seeds', 'all', 'training, s']
    assert rows == [
        ['ATA', '0 1', '0.850 ± 0.071 (≥ 0.800)', '60'],
        ['attention', '0', '0.750', '–'],
    ]


def test_plot_has_a_line_of_means_for_each_arm():
    axes = plot_curves(RESULTS, ['all']).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ['ATA', 'attention']
    assert list(lines['ATA'].get_xdata()) == [2, 4]
    assert list(lines['ATA'].get_ydata()) == pytest.approx([0.425, 0.85])


def test_plot_takes_the_seeds_that_have_an_epoch():
    longer, shorter = result('ATA', 0, 0.8), result('ATA', 1, 0.4)
    shorter['curve'].pop()
    (line,) = plot_curves([shorter, longer], ['all']).axes[0].lines
    assert line.get_xydata().tolist() == [[2, pytest.approx(0.3)], [4, 0.8]]


def test_table_has_no_column_for_unknown_times():
    header, rows = result_table(RESULTS[2:], ['all'])
    assert header == ['', 'seeds', 'all']
    assert rows == [['attention', '0', '0.750']]


def test_table_compares_with_the_baseline():
    header, rows = result_table(RESULTS, ['all'], 'ATA')
    assert header[-1] == 'minus ATA, 95 %'
    assert rows[0][-1] == '–'
    assert rows[1][-1].startswith('-0.050 [')


def test_interval_is_that_of_paired_videos():
    # On the same 500 of 1000 videos each, and then on 20 more.
    first = dict(correct='1' * 520 + '0' * 480)
    second = dict(correct='1' * 500 + '0' * 500)
    mean, low, high = difference([first], [second])
    assert mean == pytest.approx(0.02)
    # Unpaired, it would reach from -0.02 to 0.06.
    assert 0.01 < low < 0.02 < high < 0.035


def test_interval_contains_the_variation_of_seeds():
    # Means over seeds are 0.6, 0.5 or 0.4 in samples of the two, whose
    # variance is half of that of a mean of two seeds.
    own = [dict(correct='1' * n + '0' * (1000 - n)) for n in (600, 400)]
    mean, low, high = difference(own, [dict(correct='1' * 500 + '0' * 500)])
    assert mean == 0
    assert low == pytest.approx(-0.1 * 2**0.5, abs=0.02)
    assert high == pytest.approx(0.1 * 2**0.5, abs=0.02)


def test_groups_of_classes_are_averaged_by_speed():
    results = [
        dict(arm='ATA', correct=c, labels=[0, 0, 1, 2], speeds=[1, 5, 1, 2])
        for c in ('1101', '1001')
    ]
    groups, ranges = (
        dict(pans=[0, 1], zooms=[2]),
        dict(slow=(0, 2), fast=(2, 9)),
    )
    assert group_table(results, groups, ranges) == (
        ['', 'pans, slow', 'pans, fast', 'zooms, slow', 'zooms, fast'],
        [['ATA', '0.500', '0.500', '–', '1.000']],
    )


def test_arms_of_other_test_videos_are_not_compared():
    with pytest.raises(ValueError, match='of 2 and 3 videos'):
        difference([dict(correct='101')], [dict(correct='10')])


@pytest.mark.parametrize('key', ['labels', 'speeds'])
def test_arms_of_other_videos_in_equal_number_are_not_compared(key):
    own, other = (
        dict(arm=arm, correct='10', labels=[0, 1], speeds=[1, 2])
        for arm in ('ATA', 'attention')
    )
    other[key] = [3, 3]
    message = f'got results of videos of different {key}'
    with pytest.raises(ValueError, match=message):
        difference([own], [other])
    with pytest.raises(ValueError, match=message):
        group_table([own, other], dict(all=[0, 1]), dict(all=(0, 9)))


def test_arms_that_agree_differ_by_nothing():
    assert difference(RESULTS[:1], RESULTS[:1]) == (0, 0, 0)


def test_arms_that_differ_in_every_video_have_an_interval():
    found = difference([dict(correct='1111')], [dict(correct='0000')])
    assert found == (1, 1, 1)


def test_best_setting_is_bold():
    header, rows = trial_table(RESULTS, 'all')
    assert header == ['', 'lr=0', 'lr=1']
    assert rows == [
        ['ATA', '0.800', '**0.900**'],
        ['attention', '**0.750**', '–'],
    ]


def test_settings_whose_keys_end_in_the_same_word_are_told_apart():
    trials = [
        dict(RESULTS[0], setting={key: 1, 'x.lr': 2})
        for key in ('a.depth', 'b.depth')
    ]
    header, _ = trial_table(trials, 'all')
    assert header == ['', 'a.depth=1, lr=2', 'b.depth=1, lr=2']


def test_accuracy_is_plotted_over_speed():
    axes = plot_speed(RESULTS, videos=2).axes[0]
    assert [line.get_label() for line in axes.lines] == ['ATA', 'attention']
    assert axes.lines[0].get_xdata()[0] == pytest.approx(0.5)
    assert axes.lines[0].get_ydata()[-1] == pytest.approx(0.25)


def test_videos_are_plotted_in_the_order_of_their_speeds():
    shuffled = dict(RESULTS[0], speeds=[3, 9, 0, 7, 1, 8, 2, 6, 4, 5])
    (line,) = plot_speed([shuffled], videos=1).axes[0].lines
    assert list(line.get_xdata()) == list(range(10))


def test_speeds_that_are_not_known_are_named():
    results = [{k: v for k, v in r.items() if k != 'speeds'} for r in RESULTS]
    with pytest.raises(ValueError, match="'ATA', 'attention' without"):
        plot_speed(results)


ROUTES = [
    dict(
        RESULTS[0],
        routes=[
            dict(epoch=2, blocks=[dict(followed=0.2), {}]),
            dict(epoch=4, blocks=[dict(followed=0.5), dict(followed=0.7)]),
        ],
    ),
    dict(
        RESULTS[1],
        routes=[
            dict(
                epoch=4,
                blocks=[
                    dict(followed=0.6, aligned=0.25),
                    dict(followed=0.7),
                ],
            )
        ],
    ),
]


def test_routes_are_averaged_over_seeds():
    header, rows = route_table([*ROUTES, RESULTS[2]], 'all')
    assert header[:4] == ['', 'seeds', 'all', 'block']
    assert [[*row[:5], row[-1]] for row in rows] == [
        ['ATA', '0 1', '0.850', '0', '55', '0.250'],
        ['', '', '', '1', '70', '–'],
    ]


def test_routes_have_a_panel_for_each_module_and_a_line_for_each_arm():
    first, second = plot_routes(ROUTES).axes
    assert first.lines[0].get_xydata().tolist() == [[2, 0.2], [4, 0.55]]
    assert second.lines[0].get_xydata().tolist() == [[4, 0.7]]
    assert [line.get_label() for line in second.lines] == ['ATA']


def test_results_without_routes_have_no_plot_of_them():
    with pytest.raises(ValueError, match="routes, to plot them, got 'ATA'"):
        plot_routes(RESULTS)
