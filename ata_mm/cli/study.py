# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Studies: models to compare with several seeds, and their results.

A study is a config file, see ``configs/studies``. A result is one line of a
JSON Lines file. If a study has a grid, each arm first tries all settings of
its grid, without a test, and is then run with the best on validation data. See
:mod:`ata_mm.cli.study_runs` for how.
"""

import hashlib
import itertools
import json
import sysconfig
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ata_mm.apis.config import read_config, with_options
from ata_mm.datasets.rendered import is_rendered

_STUDY_KEYS: dict[str, tuple[type, ...]] = dict(
    arms=(dict,),
    baseline=(str,),
    config=(str,),
    grid=(dict, list, tuple),
    groups=(dict,),
    metrics=(dict,),
    options=(dict,),
    routes=(int,),
    seeds=(list, tuple, range),
    selection=(dict,),
    smoke=(dict,),
    title=(str,),
)
_ARM_KEYS = ('config', 'grid', 'options', 'seeds')


@dataclass(frozen=True)
class Run:
    """Training and test of one arm of a study with one seed.

    Args:
        arm (str): Name of the arm.
        seed (int): The random seed.
        config (str): Path of the config.
        options (dict[str, object]): Settings by dotted key.
        cfg (Config): The config with the options.
        root (Path): Folder of the study.
        setting (dict[str, object]): Those of the options that are of the grid.
        trial (bool): Whether the run only serves to choose a setting: it is
            not tested.
    """

    arm: str
    seed: int
    config: str
    options: dict[str, object]
    cfg: Config
    root: Path
    setting: dict[str, object]
    trial: bool

    @property
    def name(self) -> str:
        """Title in messages."""
        setting = [f'{key}={value}' for key, value in self.setting.items()]
        return ', '.join([self.arm, *setting, f'seed {self.seed}'])

    @property
    def digest(self) -> str:
        """A hash of the config and of the rendered videos.

        It does not change with the environment.
        """
        packages = sysconfig.get_path('purelib')  # some hold weights
        content = repr(self.cfg.to_dict()).replace(packages, '')
        content += repr(self._data_versions())
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    def _data_versions(self) -> list[int]:
        """Return the versions of the rendered data sets."""
        types = [
            self.cfg[f'{split}_dataloader'].dataset.type
            for split in ('train', 'val', 'test')
        ]
        init_default_scope(self.cfg.default_scope)
        classes = map(DATASETS.get, types)
        return [c.VERSION for c in classes if hasattr(c, 'VERSION')]

    @property
    def key(self) -> tuple[str, int, str]:
        """What identifies the run among the results."""
        return self.arm, self.seed, self.digest

    @property
    def folder(self) -> Path:
        """Folder of logs and checkpoints, of this config alone."""
        plain = ''.join(
            c if c.isalnum() or c in '=.-' else ' ' for c in self.arm
        )
        words = [*plain.split(), f'seed{self.seed}', self.digest]
        return self.root / '_'.join(words)

    @property
    def config_file(self) -> Path:
        """File of the config with its options, for the tools."""
        return self.folder / 'config.py'


@dataclass(frozen=True)
class Arm:
    """A model of a study.

    Args:
        name (str): Its name.
        trials (list[Run]): A run with each setting of the grid.
        seeds (list[int]): Seeds of the runs with the chosen setting.
    """

    name: str
    trials: list[Run]
    seeds: list[int]

    def choose(
        self, results: Sequence[dict], metric: str | None
    ) -> Run | None:
        """Return the trial of the setting to use.

        Args:
            results (Sequence[dict]): Results of trials.
            metric (str | None): Name of the metric to compare, in the last
                validation; None without a grid.

        Returns:
            Run | None: None if the result of a trial is missing.
        """
        if len(self.trials) == 1:
            return self.trials[0]
        found = {run_identity(r): r['curve'][-1][metric] for r in results}
        if not all(run.key in found for run in self.trials):
            return None
        return max(self.trials, key=lambda run: found[run.key])


@dataclass(frozen=True)
class Study:
    """Arms, and what is reported of them.

    Args:
        title (str): Title of the table.
        metrics (dict[str, str]): Keys of the metrics by column.
        arms (list[Arm]): The arms.
        selection (str | None): Name of the metric by which settings are
            chosen; None without a grid.
        baseline (str, optional): Name of the arm that others are compared
            with. Defaults to None.
        groups (dict[str, Sequence[int]], optional): Classes by the name of a
            group that is reported apart. Defaults to None.
        routes (int, optional): Number of test videos on which the routes of
            each run are compared with the true motion. Defaults to None.
    """

    title: str
    metrics: dict[str, str]
    arms: list[Arm]
    selection: str | None
    baseline: str | None = None
    groups: dict[str, Sequence[int]] | None = None
    routes: int | None = None

    def read(self, path: Path, runs: Sequence[Run]) -> list[dict]:
        """Read the results of runs, see :func:`read_results`.

        Raises:
            ValueError: If a result lacks a metric of the study, or has
                another one under its name.
        """
        results = read_results(path, runs)
        for result in results:
            found = result.get('metrics') or result['curve'][-1]
            keys = result.get('metric_keys', self.metrics)
            missing = [
                f'{name}={key!r}'
                for name, key in self.metrics.items()
                if name not in found or keys.get(name) != key
            ]
            if missing:
                raise ValueError(
                    f'Expected the metrics {", ".join(self.metrics)} in '
                    f'{path}, got a line of arm {result["arm"]!r} without '
                    f'{", ".join(missing)}. Delete the lines that were '
                    'written when the study had other metrics, and run it '
                    'again; trainings whose checkpoints exist are not '
                    'repeated.'
                )
        return results

    def trials(self) -> list[Run]:
        """Return the runs that serve to choose settings."""
        arms = [arm for arm in self.arms if len(arm.trials) > 1]
        return [run for arm in arms for run in arm.trials]

    def runs(self, results: Path) -> list[Run]:
        """Return the runs of the arms whose settings are chosen.

        Args:
            results (Path): JSON Lines file with the results of the trials; it
                may not exist yet.
        """
        tried = self.read(results, self.trials())
        chosen = [
            (arm, arm.choose(tried, self.selection)) for arm in self.arms
        ]
        return [
            replace(run, seed=seed, trial=False)
            for arm, run in chosen
            if run is not None
            for seed in arm.seeds
        ]


def load_study(
    path: str,
    root: Path,
    seeds: Sequence[int] | None = None,
    smoke: bool = False,
    arms: Sequence[str] | None = None,
) -> Study:
    """Read the config file of a study.

    Args:
        path (str): The file. It sets ``title``, ``metrics``, ``config``,
            ``seeds`` and ``arms``: by name, what an arm has other than the
            study, of ``config``, ``seeds``, ``options`` and ``grid``. The
            ``options`` of the study are merged into the config of each arm,
            before those of the arm; the ``smoke`` options last, if asked for.
            A ``grid`` has a list of values by key of an option, or is a list
            of such grids. All combinations of each are tried with the seed of
            ``selection``, and the one with the best final validation metric,
            whose name is in ``selection`` too, is used. Intervals of
            differences are relative to the arm named ``baseline``. ``groups``
            are lists of class indices, reported apart. With ``routes``, the
            routes of the checkpoints that a run keeps are compared with the
            true motion of this number of test videos. Names that start with an
            underscore are variables of the file.
        root (Path): Folder for those of the runs.
        seeds (Sequence[int], optional): Replace those of the file. Defaults
            to None.
        smoke (bool): Run every step, too short to learn, with the first two
            settings of a grid and the first seed. Defaults to False.
        arms (Sequence[str], optional): Names of the arms to keep. Defaults to
            None, all.

    Returns:
        Study: The study.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a key is missing or unknown or of a wrong type, or an
            arm; or if the true motion is not known for ``routes``.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            'Expected the config of a study, such as '
            f'configs/studies/quickstart.py, but {path} is not a file.'
        )
    content = Config.fromfile(path).to_dict()
    content = {
        key: value
        for key, value in content.items()
        if value is not None and not key.startswith('_')
    }
    _check_keys(content, _STUDY_KEYS, path)
    for key in ('title', 'metrics', 'arms'):
        if not content.get(key):
            raise ValueError(f'Expected {key} in the study {path}.')
    baseline = content.get('baseline')
    if baseline is not None and baseline not in content['arms']:
        raise ValueError(
            f'Expected baseline of {path} to be the name of an arm, got '
            f'{baseline!r}.'
        )
    chosen = list(content['arms']) if arms is None else arms
    unknown = [name for name in chosen if name not in content['arms']]
    if unknown:
        raise ValueError(
            f'Expected arms of {path}: {_quoted(content["arms"])}; got '
            f'{_quoted(unknown)}.'
        )
    read = [
        _read_arm(name, own, content, path, root, seeds, smoke)
        for name, own in content['arms'].items()
        if name in chosen
    ]
    if content.get('routes'):
        _check_motion_is_known(read, path)
    return Study(
        content['title'],
        content['metrics'],
        read,
        content.get('selection', {}).get('metric'),
        baseline,
        content.get('groups'),
        content.get('routes'),
    )


def _read_arm(
    name: str,
    own: dict,
    study: dict,
    path: str,
    root: Path,
    seeds: Sequence[int] | None,
    smoke: bool,
) -> Arm:
    """Read an arm; the arguments are those of :func:`load_study`."""
    _check_keys(own, _ARM_KEYS, f'{path}, arm {name}')
    arm = {**study, **own}
    if not arm.get('config') or not arm.get('seeds'):
        raise ValueError(
            f'Expected config and seeds for arm {name} of {path}: its '
            'own, or those of the study.'
        )
    if not all(isinstance(seed, int) for seed in arm['seeds']):
        raise ValueError(
            f'Expected integers for seeds of arm {name} of {path}, got '
            f'{arm["seeds"]}.'
        )
    grid = arm.get('grid', {})
    settings = _settings(grid, f'{path}, arm {name}')
    selection = study.get('selection', {})
    decided = selection.get('metric') in study['metrics']
    if grid and not (decided and 'seed' in selection):
        raise ValueError(
            f'Expected selection=dict(seed=…, metric=…) in {path}, with the '
            f'name of a metric, for the grid of arm {name}.'
        )
    trials = []
    cfg = read_config(arm['config'])
    for setting in settings[:2] if smoke else settings:
        options = {
            **study.get('options', {}),
            **own.get('options', {}),
            **setting,
            **(study.get('smoke', {}) if smoke else {}),
        }
        run = Run(
            arm=name,
            seed=selection.get('seed', 0),
            config=arm['config'],
            options=options,
            cfg=with_options(cfg, options),
            root=root,
            setting=setting,
            trial=True,
        )
        trials.append(run)
    seeds = seeds or (arm['seeds'][:1] if smoke else arm['seeds'])
    for what, values in (('seeds', seeds), ('settings', settings)):
        if any(value in values[:i] for i, value in enumerate(values)):
            raise ValueError(
                f'Expected different {what} for arm {name} of {path}, got '
                f'{values}.'
            )
    if grid and selection.get('seed') in seeds:
        raise ValueError(
            f'Expected seeds of arm {name} of {path} other than that of '
            f'selection, got {selection.get("seed")} in both.'
        )
    return Arm(name, trials, list(seeds))


def _settings(grid: dict | Sequence[dict], place: str) -> list[dict]:
    """Return the settings of a grid or several; an empty one without any."""
    grids = [grid] if isinstance(grid, dict) else grid
    for one in grids:
        if not isinstance(one, dict) or not all(
            isinstance(values, (list, tuple, range)) and values
            for values in one.values()
        ):
            raise ValueError(
                'Expected for grid a list of values by key of an option, or a '
                f'list of such grids, in {place}, got {grid!r}.'
            )
    settings = [
        dict(zip(one, values))
        for one in grids
        for values in itertools.product(*one.values())
    ]
    return settings or [{}]


def _check_motion_is_known(arms: Sequence[Arm], path: str) -> None:
    """Raise if routes are to be compared with a motion that is not known."""
    for arm in arms:
        cfg = arm.trials[0].cfg
        init_default_scope(cfg.default_scope)
        name = cfg.test_dataloader.dataset.type
        if not is_rendered(name):
            raise ValueError(
                f'Expected test videos whose true motion is known for routes '
                f'of {path}, got {name} in arm {arm.name!r}. Remove routes.'
            )


def _quoted(names: Iterable[str]) -> str:
    return ', '.join(map(repr, names))  # names may contain commas


def _check_keys(found: dict, known: Iterable[str], place: str) -> None:
    """Raise if a key is unknown, or of a wrong type."""
    if not isinstance(found, dict):
        raise ValueError(
            f'Expected a dict with keys of {", ".join(known)} in {place}, got '
            f'{found!r}.'
        )
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise ValueError(
            f'Expected keys of {", ".join(known)} in {place}, got '
            f'{", ".join(unknown)}.'
        )
    for key, value in found.items():
        kinds = _STUDY_KEYS[key]
        if not isinstance(value, kinds):
            raise ValueError(
                f'Expected a {" or ".join(kind.__name__ for kind in kinds)} '
                f'for {key} in {place}, got {value!r}.'
            )


def read_results(path: Path, runs: Sequence[Run]) -> list[dict]:
    """Read the results of runs.

    Args:
        path (Path): The JSON Lines file; it may not exist yet.
        runs (Sequence[Run]): The runs.

    Returns:
        list[dict]: The newest result of each run that has one for its present
        config, in the order of the runs.

    Raises:
        ValueError: If a line other than the last is no result.
    """
    content = path.read_bytes() if path.is_file() else b''
    *lines, last = content.split(b'\n')
    with suppress(ValueError):  # the last one may be being written
        json.loads(last)
        lines.append(last)
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            identity = run_identity(entry)
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f'Expected the result of a run in line {number} of {path}, '
                f'got {line[:60]!r}. Correct or delete this line; trainings '
                'whose checkpoints exist are not repeated.'
            ) from None
        # A trial, which is not tested, may have the seed of a later run.
        key = (*identity, 'metrics' not in entry)
        found[key] = entry
    keys = [(*run.key, run.trial) for run in runs]
    return [found[key] for key in keys if key in found]


def run_identity(result: dict) -> tuple[str, int, str]:
    """Return the key of the run that a result is of, see :attr:`Run.key`."""
    return result['arm'], result['seed'], result['digest']
