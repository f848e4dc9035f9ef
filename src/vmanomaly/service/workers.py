"""What executes the work of models that fit one series at a time, as the settings say."""

from __future__ import annotations

from importlib.util import find_spec

from vmanomaly.config.settings import SettingsSection
from vmanomaly.errors import ConfigError
from vmanomaly.executor import Executor
from vmanomaly.monitoring.resources import available_cpus
from vmanomaly.service.native_threads import n_native_threads, n_workers

_PACKAGES = {"ray": "ray", "dask": "distributed"}


def create_executor(settings: SettingsSection) -> Executor:
    """Return the executor that the settings describe.

    Raises
    ------
    ConfigError
        It needs a package that is not installed.
    """
    package = _PACKAGES.get(settings.executor or "")
    if package is not None and find_spec(package) is None:
        problem = f"{settings.executor} needs {package}, which is not installed"
        remedy = f"pip install 'vmanomaly[{settings.executor}]'"
        raise ConfigError([f"settings.executor: {problem}: {remedy}"])
    cpus = available_cpus()
    return Executor(
        settings.executor,
        n_workers(settings, cpus),
        settings.executor_address,
        n_native_threads(settings, cpus),
    )
