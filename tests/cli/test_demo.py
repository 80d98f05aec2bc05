# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import argparse
from pathlib import Path

import pytest

from ata_mm.cli.demo import demo_words, parse_with_demo, print_demo


@pytest.fixture
def parse(monkeypatch):
    """Parse words as a tool with --demo does."""

    def parse(*words):
        parser = argparse.ArgumentParser()
        parser.add_argument('videos', nargs='+')
        for option in ('--config', '--checkpoint'):
            parser.add_argument(option, required=True)
        parser.add_argument('--topk', type=int)
        monkeypatch.setattr('sys.argv', ['tool', *words])
        return parse_with_demo(parser)

    return parse


@pytest.mark.parametrize(
    'words', [['--demo', '--topk', '3'], ['--topk', '3', '--demo']]
)
def test_demo_stands_for_files_that_exist(parse, words):
    args = parse(*words)
    (video,) = args.videos
    assert all(
        Path(p).is_file() for p in (video, args.config, args.checkpoint)
    )
    assert args.topk == 3


def test_the_demo_model_takes_further_videos(parse):
    assert parse('mine.mp4', '--demo').videos == ['mine.mp4', demo_words()[0]]


def test_without_demo_a_model_is_required(parse, capsys):
    with pytest.raises(SystemExit):
        parse('mine.mp4')
    assert '--config' in capsys.readouterr().err


def test_what_demo_stands_for_is_printed(parse, capsys):
    print_demo(parse('--demo'))
    assert capsys.readouterr().err.split()[3:] == demo_words()
    print_demo(parse('a.mp4', '--config', 'c', '--checkpoint', 'd'))
    assert capsys.readouterr().err == ''
