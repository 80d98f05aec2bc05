# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import argparse
import sys

import pytest

from ata_mm.cli.arguments import (
    add_cfg_options,
    add_model_options,
    add_run_options,
    add_timing_options,
    cfg_option_words,
    make_folder,
    make_folder_of,
    parse_length,
    seed,
)


@pytest.fixture
def parse():
    """Parse words with the options that a function adds."""

    def parse(add, *words, **options):
        parser = argparse.ArgumentParser()
        add(parser, **options)
        return parser.parse_args(words)

    return parse


def test_cfg_options_become_values_by_key(parse):
    args = parse(add_cfg_options, '--cfg-options', 'a.b=4', 'c=[x,y]')
    assert args.cfg_options == {'a.b': 4, 'c': ['x', 'y']}


def test_cfg_option_without_a_value_is_refused(parse, capsys):
    with pytest.raises(SystemExit):
        parse(add_cfg_options, '--cfg-options', 'a.b')
    assert "expected KEY=VALUE, got 'a.b'" in capsys.readouterr().err


@pytest.mark.parametrize('missing', ['--config', '--checkpoint'])
def test_model_options_require_config_and_checkpoint(parse, capsys, missing):
    words = {'--config': 'a.py', '--checkpoint': 'a.pth'}
    del words[missing]
    with pytest.raises(SystemExit):
        parse(add_model_options, *next(iter(words.items())))
    assert f'required: {missing}' in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--local_rank', '--local-rank'])
def test_run_options_take_both_spellings_of_the_rank(parse, option):
    args = parse(add_run_options, option, '1')
    assert args.local_rank == 1 and args.launcher == 'none'


def test_timing_options_have_the_default_of_the_tool(parse):
    args = parse(add_timing_options, rounds=11)
    assert (args.rounds, args.threads) == (11, None)


def test_folder_is_created(tmp_path):
    make_folder(str(tmp_path / 'a' / 'b'))
    assert (tmp_path / 'a' / 'b').is_dir()


def test_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / 'a').touch()
    with pytest.raises(ValueError, match='a cannot be created: File exists'):
        make_folder(str(tmp_path / 'a'))


@pytest.mark.skipif(sys.platform != 'linux', reason='has no /proc')
def test_folder_that_cannot_be_written_to_is_refused():
    # Root has the permission.
    with pytest.raises(ValueError, match='for --dump that can .* /proc:'):
        make_folder('/proc', '--dump')


def test_folder_of_a_file_is_created(tmp_path):
    make_folder_of(None, '--out')
    make_folder_of(str(tmp_path / 'a' / 'b.json'), '--out')
    assert list((tmp_path / 'a').iterdir()) == []


def test_remote_file_has_no_folder_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_folder_of('s3://bucket/a.json', '--out')
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match='a file for --out, got the folder'):
        make_folder_of(str(tmp_path), '--out')


@pytest.mark.parametrize(
    'text, frames', [('64', 64), ('2s', 50), ('0.5s', 12)]
)
def test_length_in_frames_or_seconds(text, frames):
    assert parse_length(text, fps=25.0) == frames


@pytest.mark.parametrize('text', ['2m', 's', '1.5', ''])
def test_refuses_other_lengths(text):
    with pytest.raises(ValueError, match='such as 64, or of seconds'):
        parse_length(text, fps=25.0)


def test_options_are_passed_on_in_words():
    options = {'a.b': [1, 'x*'], 'c': None}
    words = ['--cfg-options', 'a.b=[1,x*]', 'c=None']
    assert cfg_option_words(options) == words
    assert cfg_option_words(None) == []


@pytest.mark.parametrize('text', ['-1', '4294967296', 'abc', '1.5', ''])
def test_other_seeds_are_refused(text):
    assert seed('4294967295') == 2**32 - 1
    with pytest.raises(argparse.ArgumentTypeError, match='2\\*\\*32-1'):
        seed(text)
