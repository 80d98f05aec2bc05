# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.datasets.own_videos import read_own_videos
from ata_mm.datasets.splits import split_videos


def of(videos):
    return [(video.path, video.label, video.split) for video in videos]


def test_folders_are_classes(folder):
    (folder / 'a' / 'notes.txt').touch()
    (folder / '.cache').mkdir()
    found = read_own_videos([str(folder)])
    assert found.root == str(folder) and found.classes == ['a', 'b']
    assert len(found.videos) == 6
    assert ('a/0.mp4', 0, None) in of(found.videos)


@pytest.mark.parametrize('place', ['runs', 'runs/1', 'a/runs'])
def test_results_are_no_data(folder, place):
    written = ('__pycache__/x.mp4', 'work_dirs/x/y.mp4', 'b/work_dirs/y.mp4')
    for file in (*written, f'{place}/routes/routes.mp4'):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    found = read_own_videos([str(folder)], folder / place)
    assert found.classes == ['a', 'b'] and len(found.videos) == 6


def test_a_folder_of_results_may_contain_the_data(folder):
    assert len(read_own_videos([str(folder)], folder.parent).videos) == 6


def test_files_of_macos_are_no_videos(folder):
    (folder / 'a' / '._0.mp4').touch()
    assert len(read_own_videos([str(folder)]).videos) == 6


def test_links_to_folders_are_followed(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    (other / 'c.mp4').touch()
    (folder / 'a' / 'linked').symlink_to(other)
    (folder / 'a' / 'loop').symlink_to(folder)
    found = read_own_videos([str(folder)])
    assert [video.path for video in found.videos if not video.label] == [
        'a/0.mp4',
        'a/1.mp4',
        'a/2.mp4',
        'a/linked/c.mp4',
    ]


def test_a_link_to_no_file_is_named(folder):
    (folder / 'a' / 'moved.mp4').symlink_to(folder / 'nowhere.mp4')
    with pytest.raises(FileNotFoundError, match='1 of 7 .*: a/moved.mp4'):
        read_own_videos([str(folder)])


def test_folders_of_splits_are_kept(tmp_path):
    for path in ('train/a/1', 'train/b/2', 'validation/a/3', 'validation/b/4'):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f'{path}.mp4').touch()
    found = read_own_videos([str(tmp_path)])
    assert split_videos(found, 0.5, 0).videos == found.videos
    assert of(found.videos)[-1] == ('validation/b/4.mp4', 1, 'val')


@pytest.mark.parametrize('mark', [',', ';', '\t'])
def test_csv(folder, mark):
    rows = [
        ('Video', 'Class', 'Split'),
        *(
            (f'{name}/{number}.mp4', name, 'val' if number else 'train')
            for name in 'ab'
            for number in range(2)
        ),
    ]
    path = folder / 'list.csv'
    path.write_text('\ufeff' + '\n'.join(mark.join(row) for row in rows))
    found = read_own_videos([str(path)])
    assert found.is_split and found.classes == ['a', 'b']
    assert ('b/1.mp4', 1, 'val') in of(found.videos)


def test_a_line_break_in_a_quoted_label_is_kept(folder):
    rows = [f'a/{n}.mp4,cat' for n in range(2)]
    rows += [f'b/{n}.mp4,"dog\nbig"' for n in range(2)]
    path = folder / 'list.csv'
    path.write_text('\r\n'.join(['path,label', *rows]), newline='')
    assert read_own_videos([str(path)]).classes == ['cat', 'dog\nbig']


@pytest.mark.parametrize('again', ['b/0.mp4', './b//0.mp4', '{}/b/0.mp4'])
def test_a_repeated_video_counts_once(folder, again):
    rows = ['a/0.mp4,x', 'a/1.mp4,x', 'b/0.mp4,y', f'{again.format(folder)},y']
    path = folder / 'list.csv'
    path.write_text('\n'.join(['path,label', *rows]))
    with (
        pytest.warns(UserWarning, match='1 lines of .* repeat a video'),
        pytest.raises(ValueError, match=r'two videos or more .* y \(1\)'),
    ):
        read_own_videos([str(path)])


@pytest.mark.parametrize(
    'line', ['{} {}', '{},{}', '{}, {}', '{}\t{}', '{}; {}', '{}|{}']
)
def test_the_delimiter_of_a_list_is_found(folder, line):
    lines = [line.format(f'{n}/{i}.mp4', n == 'b') for n in 'ab' for i in '01']
    text = '\n'.join(lines).replace('False', '0').replace('True', '1')
    (folder / 'list.txt').write_text(text)
    found = read_own_videos([str(folder / 'list.txt')])
    assert ('b/1.mp4', 1, None) in of(found.videos)


@pytest.mark.parametrize('suffix, mark', [('csv', ','), ('txt', ' ')])
def test_a_parent_folder_is_that_of_a_link(
    folder, tmp_path_factory, suffix, mark
):
    other = tmp_path_factory.mktemp('other')
    (other / 'inner').mkdir()
    (other / 'c.mp4').touch()
    (folder / 'link').symlink_to(other / 'inner')
    paths = ['link/../c.mp4', 'a/0.mp4', 'b/0.mp4', 'b/1.mp4']
    lines = [f'{path}{mark}{int(i > 1)}' for i, path in enumerate(paths)]
    lines = ['path,label', *lines] if suffix == 'csv' else lines
    (folder / f'list.{suffix}').write_text('\n'.join(lines))
    found = read_own_videos([str(folder / f'list.{suffix}')])
    assert found.videos[0].path.endswith('link/../c.mp4')


def test_columns_named_path_and_label_come_before_others(folder):
    rows = [
        f'{name},{name}/{number}.mp4,sport,{label}'
        for name, label in (('a', 'tennis'), ('b', 'golf'))
        for number in range(2)
    ]
    path = folder / 'list.csv'
    path.write_text('\n'.join(['name,path,category,label', *rows]))
    found = read_own_videos([str(path)])
    assert found.classes == ['golf', 'tennis']
    assert {video.path[:2] for video in found.videos} == {'a/', 'b/'}


def test_numbers_as_classes_are_sorted_as_numbers(folder):
    rows = [
        f'{name}/{number}.mp4,{label}'
        for name, label in (('a', 2), ('b', 10))
        for number in range(2)
    ]
    path = folder / 'list.csv'
    path.write_text('\n'.join(['path,label', *rows]))
    found = read_own_videos([str(path)])
    assert found.classes == ['2', '10']
    assert ('b/0.mp4', 1, None) in of(found.videos)


def test_digits_that_are_no_number_are_names(folder):
    rows = [
        f'{name}/{n}.mp4,{"1²"[name == "b"]}' for name in 'ab' for n in '01'
    ]
    path = folder / 'list.csv'
    path.write_text('\n'.join(['path,label', *rows]), encoding='utf-8')
    assert read_own_videos([str(path)]).classes == ['1', '²']


def test_lists_for_training_and_validation(folder):
    (folder / 'classes.txt').write_text('first\nsecond\n')
    (folder / 'one.txt').write_text('a/0.mp4 0\nb/0.mp4 1\n')
    (folder / 'two.txt').write_text('a/1.mp4 0\nb/1.mp4 1\n')
    found = read_own_videos([str(folder / f'{n}.txt') for n in ('one', 'two')])
    assert found.classes == ['first', 'second']
    assert [video.split for video in found.videos] == 2 * ['train'] + 2 * [
        'val'
    ]


def test_paths_of_a_list_are_relative_to_its_folder(folder):
    data = []
    for name in 'ab':
        data.append(str(folder / name / 'list.txt'))
        (folder / name / 'list.txt').write_text('0.mp4 0\n1.mp4 1\n')
    found = read_own_videos(data)
    assert found.root == str(folder / 'a')
    paths = [video.path for video in found.videos]
    assert paths == ['0.mp4', '1.mp4', '../b/0.mp4', '../b/1.mp4']


def write(folder, name, text):
    (folder / name).write_text(text)
    return [str(folder / name)]


def not_utf8(folder):
    (folder / 'x.csv').write_bytes(
        'path;label\na/0.mp4;größer\n'.encode('cp1252')
    )
    return [str(folder / 'x.csv')]


def classes_not_utf8(folder):
    (folder / 'classes.txt').write_bytes('größer\n'.encode('cp1252'))
    return write(folder, 'x.txt', 'a/0.mp4 0\na/1.mp4 0\n')


def emptied(folder):
    for file in (folder / 'b').iterdir():
        file.unlink()
    return [str(folder)]


def one_left(folder):
    for number in (1, 2):
        (folder / 'b' / f'{number}.mp4').unlink()
    return [str(folder)]


def split_for_test(folder):
    (folder / 'a').rename(folder / 'train')
    (folder / 'b').rename(folder / 'test')
    return [str(folder)]


def splits_and_another(folder):
    (folder / 'a').rename(folder / 'train')
    (folder / 'b').rename(folder / 'val')
    (folder / 'raw').mkdir()
    return [str(folder)]


def many_classes(folder):
    for number in range(12):
        (folder / 'b' / f'{number}.mp4').touch()
    rows = ''.join(f'b/{n}.mp4,{n}\n' for n in range(12))
    return write(folder, 'x.csv', f'path,label\n{rows}')


def no_classes(folder):
    return [str(folder / 'a')]


@pytest.mark.parametrize(
    'data, message',
    [
        (emptied, 'got none in b. Remove the folder'),
        (one_left, r'got fewer of b \(1\)'),
        (no_classes, 'got 0 folders without any'),
        (split_for_test, 'folders train and val in .*, got test, train. Ren'),
        (splits_and_another, 'train and val in .*, got raw, train, val. Ren'),
        (lambda _: ['nowhere'], 'nowhere does not exist'),
        (
            lambda f: write(f, 'x.csv', 'path,label\na/0.mp4,a\nz/9.mp4,b\n'),
            '1 of 2 do not exist as files: z/9.mp4',
        ),
        (
            lambda f: write(f, 'x.csv', 'a/0.mp4,a\n'),
            'columns path and label',
        ),
        (
            lambda f: write(f, 'x.csv', 'path,label\na/0.mp4,a\nb/0.mp4,\n'),
            r"path and a label in .*x.csv, line 3, got \['b/0.mp4', ''\]",
        ),
        (
            lambda f: write(f, 'x.csv', 'path,label\na/0.mp4,a\na/0.mp4,b\n'),
            'one label and one split .* several for a/0.mp4. Remove',
        ),
        (
            lambda f: write(f, 'x.csv', 'path,label\na/0.mp4,sit, then go\n'),
            "2 columns in .*x.csv, line 2, got 3: .* contains ',' in double",
        ),
        (
            lambda f: write(f, 'x.txt', 'a/0.mp4 0\nb/0.mp4 20240131\n'),
            r'labels in 0\.\.1 in .*x.txt, .* got 20240131 for b/0.mp4. Corr',
        ),
        (many_classes, r'fewer of 0 \(1\), .*, 9 \(1\) and 2 more. Add'),
        (
            lambda f: write(
                f, 'x.csv', 'path,label\n"' + 20000 * 'a/0.mp4,x\n'
            ),
            'x.csv cannot be read at line .*field larger .* Close every doub',
        ),
        (classes_not_utf8, 'classes.txt is not UTF-8 .* Convert the file'),
        (not_utf8, 'x.csv is not UTF-8 .* Save it as "CSV UTF-8"'),
        (
            lambda f: write(f, 'x.csv', 'path,label,split\na/0.mp4,a,dev\n'),
            "line 2, got 'dev'",
        ),
        (
            lambda f: write(
                f, 'x.csv', 'path,label,split\na/0.mp4,a,val\nb/0.mp4,b,\n'
            ),
            'split in every line of .*x.csv, or in none',
        ),
        (
            lambda f: write(f, 'x.txt', 'a/0.mp4 1\nb/0.mp4 2\n'),
            r'labels in 0\.\.2 .* got 1\.\.2. Count from 0',
        ),
    ],
)
def test_broken_data_are_named(folder, data, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_own_videos(data(folder))


def test_a_video_is_no_data_set(folder):
    videos = [str(folder / 'a' / '0.mp4'), str(folder / 'a' / '1.mp4')]
    for data in (videos[:1], videos):
        with pytest.raises(ValueError, match='got the video .*0.mp4. Pass'):
            read_own_videos(data)
