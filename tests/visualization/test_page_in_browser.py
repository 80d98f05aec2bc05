# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The page in headless Chromium, opened from disk.

Needs pip's extra 'browser' and, on Debian, the packages chromium and
chromium-driver.
"""

import shutil

import numpy as np
import pytest
import torch

from ata_mm.ops import align_frames
from ata_mm.visualization import Block, doubtful_steps, routes_page

webdriver = pytest.importorskip(
    'selenium.webdriver', reason="the extra 'browser' is not installed"
)
GRIDS = ((4, 6), (2, 3))
SIZE = 96, 144


@pytest.fixture(scope='module')
def blocks():
    torch.manual_seed(0)
    blocks = []
    for k, (grid, options) in enumerate(
        zip(GRIDS, ({}, dict(reference='first', min_similarity=0.25)))
    ):
        x = torch.randn(1, 4, grid[0] * grid[1], 16)
        alignment = align_frames(x, **options)
        blocks.append(
            Block(2 * k, f'b{k}', 'ATA', grid, None, alignment, x, options)
        )
    return blocks


@pytest.fixture(scope='module')
def url(blocks, tmp_path_factory):
    frames = list(
        np.random.RandomState(0).randint(0, 255, (4, *SIZE, 3), np.uint8)
    )
    path = tmp_path_factory.mktemp('page') / 'routes.html'
    path.write_text(
        routes_page(frames, blocks, [(1, 2)], video='a.mp4'), 'utf-8'
    )
    return path.as_uri()


@pytest.fixture(scope='module')
def chromium():
    browser = shutil.which('chromium') or shutil.which('google-chrome')
    driver = shutil.which('chromedriver')
    if not (browser and driver):
        pytest.skip('chromium or chromedriver is not installed')
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # For root in a container without network.
    for option in (
        'headless',
        'no-sandbox',
        'disable-gpu',
        'disable-sync',
        'disable-dev-shm-usage',
        'disable-background-networking',
        'disable-component-update',
        'no-first-run',
    ):
        options.add_argument(f'--{option}')
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    service = webdriver.ChromeService(driver)
    with webdriver.Chrome(options=options, service=service) as window:
        yield window


@pytest.fixture
def page(chromium, url):
    """The page, newly opened, without messages of JavaScript."""
    resize(chromium, 1300)
    chromium.get(url)
    yield chromium
    assert chromium.get_log('browser') == []


def resize(window, width):
    window.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        dict(width=width, height=1600, deviceScaleFactor=1, mobile=False),
    )


def find(window, selector):
    return window.find_elements('css selector', selector)


def click_patch(window, picture, row, column, grid=GRIDS[0]):
    """Click the centre of a patch."""
    box = picture.rect
    webdriver.ActionChains(window).move_to_element_with_offset(
        picture,
        ((column + 0.5) / grid[1] - 0.5) * box['width'],
        ((row + 0.5) / grid[0] - 0.5) * box['height'],
    ).click().perform()


def route_on(window, selector='#stage'):
    """Return row and column of the drawn route in each frame."""
    grid = GRIDS[int(find(window, '#block')[0].get_property('value'))]
    points = [
        float(dot.get_attribute(axis))
        for dot in find(window, f'{selector} circle')
        for axis in ('cy', 'cx')
    ]
    points = np.array(points).reshape(-1, 2)
    return (points / SIZE * grid).astype(int).tolist()


def expected_route(block, frame, row, column):
    routes, width = block.alignment.routes[0], block.grid[1]
    index = (routes[frame] == row * width + column).nonzero().item()
    return [list(divmod(p, width)) for p in routes[:, index].tolist()], index


@pytest.mark.parametrize('frame', [0, 2])
def test_click_on_a_patch_shows_its_route(frame, page, blocks):
    click_patch(page, find(page, '#film .picture')[frame], 3, 4)
    assert route_on(page) == expected_route(blocks[0], frame, 3, 4)[0]
    assert find(page, '#stage img')[0].get_attribute('alt') == f'frame {frame}'


def test_click_on_the_large_frame_shows_the_route(page, blocks):
    click_patch(page, find(page, '#stage')[0], 0, 5)
    assert route_on(page) == expected_route(blocks[0], 0, 0, 5)[0]


def test_every_frame_shows_the_route(page, blocks):
    click_patch(page, find(page, '#stage')[0], 0, 5)
    for figure in range(1, 5):
        shown = route_on(page, f'#film figure:nth-child({figure})')
        assert shown == expected_route(blocks[0], 0, 0, 5)[0]


def test_table_has_the_similarities_of_the_steps(page, blocks):
    click_patch(page, find(page, '#film .picture')[1], 2, 2)
    _, index = expected_route(blocks[0], 1, 2, 2)
    shown = [
        float(cell.text.replace('−', '-'))
        for cell in find(page, '#steps td:nth-child(4)')
    ]
    expected = blocks[0].similarity()[0, :, index].tolist()
    assert shown == pytest.approx(expected, abs=6e-4)


def test_other_block_shows_the_route_at_the_same_position(page, blocks):
    click_patch(page, find(page, '#film .picture')[1], 3, 4)
    find(page, '#block-on')[0].click()
    assert find(page, '#block option')[1].text == '2 · b1, 2 × 3'
    assert route_on(page) == expected_route(blocks[1], 1, 1, 2)[0]


def test_matrix_has_all_blocks_and_steps(page):
    assert len(find(page, '#cells rect:not(.mark)')) == 3 * len(GRIDS)


def test_cell_of_the_matrix_selects_its_block_and_frame(page):
    find(page, '#cells rect:not(.mark)')[-1].click()
    assert find(page, '#block')[0].get_property('value') == '1'
    assert find(page, '#frame')[0].get_property('value') == '2'


def test_keys_change_patch_frame_and_block(page, blocks):
    click_patch(page, find(page, '#stage')[0], 1, 1)
    arrow = webdriver.Keys.ARROW_RIGHT
    find(page, '#stage')[0].send_keys('.', arrow)
    row, column = expected_route(blocks[0], 0, 1, 1)[0][1]
    moved = row, min(column + 1, GRIDS[0][1] - 1)
    assert route_on(page) == expected_route(blocks[0], 1, *moved)[0]
    find(page, '#stage')[0].send_keys(']')
    assert find(page, '#block')[0].get_property('value') == '1'


def marks(window):
    """Return the numbers of arrows, doubtful arrows and crosses."""
    find(window, '[data-mode=displacement]')[0].click()
    return [
        len(find(window, f'#stage {mark}'))
        for mark in ('.arrow', '.doubtful:nth-of-type(2n)', '.cross')
    ]


def expected_marks(block, least=-1.0):
    """Return the same of the first step."""
    shown = block.similarity()[0, 0] >= least
    rejected = ~block.alignment.accepted[0, 1]
    moved = block.alignment.routes[0].diff(dim=0)[0] != 0
    doubtful = doubtful_steps(block.alignment, block.grid)[0, 0]
    moved &= ~rejected & shown
    counts = moved & ~doubtful, moved & doubtful, rejected & shown
    return [int(mask.sum()) for mask in counts]


def test_patches_that_move_have_arrows(page, blocks):
    assert marks(page) == expected_marks(blocks[0])
    assert marks(page)[0] and marks(page)[1]


def test_rejected_matches_are_crosses(page, blocks):
    find(page, '#block-on')[0].click()
    assert marks(page) == expected_marks(blocks[1])
    assert 0 < marks(page)[2] < 6


def test_filter_hides_arrows_of_a_low_similarity(page, blocks):
    page.execute_script(
        'const slider = document.getElementById("least");'
        'slider.value = .5; slider.oninput();'
    )
    assert marks(page) == expected_marks(blocks[0], 0.5)
    assert sum(marks(page)) < sum(expected_marks(blocks[0]))


def test_filter_hides_parts_of_the_route(page, blocks):
    click_patch(page, find(page, '#film .picture')[3], 2, 2)
    _, index = expected_route(blocks[0], 3, 2, 2)
    steps = blocks[0].similarity()[0, :, index]
    page.execute_script(
        'const slider = document.getElementById("least");'
        f'slider.value = {steps.median() + 0.005}; slider.oninput();'
    )
    assert len(find(page, '#stage .trail')) == 2  # the edge and the line


def test_table_marks_rejected_and_doubtful_steps(page, blocks):
    find(page, '#block-on')[0].click()
    click_patch(page, find(page, '#film .picture')[0], 1, 1, GRIDS[1])
    alignment = blocks[1].alignment
    doubtful = doubtful_steps(alignment, GRIDS[1])[0, :, 4]
    expected = [
        '✕' if not accepted else '?' * doubt
        for accepted, doubt in zip(
            alignment.accepted[0, 1:, 4].tolist(), doubtful.tolist()
        )
    ]
    cells = find(page, '#steps td:last-child')
    assert [cell.text for cell in cells] == expected and '✕' in expected


def test_lost_routes_have_dashed_boxes(page, blocks):
    find(page, '#block-on')[0].click()
    click_patch(page, find(page, '#film .picture')[0], 1, 1, GRIDS[1])
    dashed = [
        bool(
            find(page, f'#film figure:nth-child({t + 1}) .box')[
                0
            ].get_attribute('stroke-dasharray')
        )
        for t in range(4)
    ]
    segments = blocks[1].alignment.segments[0, :, 4]
    assert dashed == (segments != 0).tolist()


def test_options_of_the_block_are_described(page):
    method = find(page, '#method')[0]
    assert (
        method.text == 'b0, ATA: each frame is matched to the frame before it'
    )
    find(page, '#block-on')[0].click()
    assert method.text == (
        'b1, ATA: each frame is matched to the first frame, matches up to '
        'similarity 0.25 are rejected'
    )


def test_similarity_highlights_the_matched_patch(page, blocks):
    # The overlay is most transparent over the most similar patch.
    find(page, '[data-mode=similarity]')[0].click()
    find(page, '#stage')[0].send_keys('.')
    alpha = page.execute_script(
        'const c = document.querySelector("#stage canvas");'
        'return [...c.getContext("2d").getImageData(0, 0, c.width, c.height)'
        '.data].filter((_, i) => i % 4 == 3)'
    )
    index = expected_route(blocks[0], 0, 1, 2)[1]
    patch = blocks[0].alignment.routes[0, 0, index]
    x = torch.nn.functional.normalize(blocks[0].features[0], dim=-1)
    row = x[0, patch] @ x[1].T
    assert np.argmin(alpha) == row.argmax() and max(alpha) == 235


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_theme_is_that_of_the_system_until_switched(scheme, page, url):
    page.execute_cdp_cmd(
        'Emulation.setEmulatedMedia',
        dict(features=[dict(name='prefers-color-scheme', value=scheme)]),
    )
    page.get(url)
    root = find(page, 'html')[0]
    assert root.get_attribute('data-theme') == scheme
    find(page, '#theme')[0].click()
    assert root.get_attribute('data-theme') != scheme


@pytest.mark.parametrize('width', [320, 760, 1300])
def test_page_fits_any_window_width(width, page):
    resize(page, width)
    root = 'document.documentElement'
    assert page.execute_script(f'return {root}.scrollWidth') <= width
