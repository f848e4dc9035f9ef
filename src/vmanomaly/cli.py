"""The command `vmanomaly`: from arguments to a running service."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import vmanomaly
from vmanomaly.arguments import parse_arguments
from vmanomaly.config import Config, load_config, resolved_yaml
from vmanomaly.config.loading.watch import ConfigWatch
from vmanomaly.config.scheduler import PeriodicSection
from vmanomaly.errors import ConfigError, UsageError, VmanomalyError
from vmanomaly.logs import configure_logging, set_logger_levels, warnings_only

logger = logging.getLogger(__name__)

_DONE, _FAILED, _WRONG = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    arguments
        The command line without the name of the program; None for the process's own.

    Returns
    -------
    int
        0 done, or stopped by SIGTERM or SIGINT; 2 wrong configuration or usage; 1 anything else.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["demo"]:
            return _demo(arguments[1:])
        return _service(parse_arguments(arguments))
    except ConfigError as error:
        n_problems = len(error.problems)
        logger.error(
            "Config validation failed: %d problem%s",
            n_problems,
            "" if n_problems == 1 else "s",
            extra={"problems": error.problems},
        )
        return _WRONG
    except UsageError as error:
        print(f"vmanomaly: {error}", file=sys.stderr)
        return _WRONG
    except VmanomalyError as error:
        logger.error("%s", error)
        return _FAILED


def _demo(arguments: Sequence[str]) -> int:
    from vmanomaly.demo.command import main as demo

    return demo(arguments)


def _service(options: Namespace) -> int:
    configure_logging(options.logger_level, options.logger_format)
    logger.info("vmanomaly %s", vmanomaly.__version__)
    if options.licensed:
        logger.info("No license is needed; the options about it are ignored")
    watch = ConfigWatch(options.configs, pause=time.sleep)
    config = load_config(options.configs, os.environ)
    set_logger_levels(config.settings.logger_levels, options.logger_level)
    logger.info("Config has been loaded successfully")
    if options.output_spec is not None:
        _write(options.output_spec, resolved_yaml(config))
    if options.dry_run:
        _print_plan(config)
        return _DONE
    return _run(config, options, watch)


def _run(config: Config, options: Namespace, watch: ConfigWatch) -> int:
    from vmanomaly.application import Application
    from vmanomaly.service.reload import Reloader

    application = Application(config, options.logger_level)
    reloader = Reloader(
        lambda: load_config(options.configs, os.environ),
        application.apply,
        application.give_up,
        application.metrics,
        watch.has_changed if options.watch else None,
        options.config_check_interval.seconds,
    )

    def stop(number: int, _: object) -> None:
        logger.info("%s: finishing what is under way", signal.Signals(number).name)
        application.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda *_: reloader.reload_soon())
    reloader.start()
    with _progress(config) as on_progress:
        status = application.run(on_progress)
    reloader.stop()
    logger.info("Stopped" if status == _DONE else "Ended with failures; see the log above")
    if application.abandoned:
        # A thread that hangs in a request would keep the process alive.
        logging.shutdown()
        os._exit(status)
    return status


@contextmanager
def _progress(config: Config) -> Iterator[Callable[[int, int, str], None] | None]:
    """Show a bar in place of the log while schedulers run that all end, if there is a terminal."""
    endless = any(isinstance(each, PeriodicSection) for each in config.schedulers.values())
    if endless or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    from vmanomaly.progress import progress_bar

    with progress_bar(Console(stderr=True), "starting") as show, warnings_only():
        yield show


def _print_plan(config: Config) -> None:
    from vmanomaly.scheduler.clock import SystemClock
    from vmanomaly.service.plan import create_models, with_custom_classes
    from vmanomaly.service.preview import preview
    from vmanomaly.state.compatibility import VERSION_OVERRIDE

    config = with_custom_classes(config)
    create_models(config)
    print("The configuration is valid. It would run:")
    for alias, model in config.models.items():
        print(
            f"  model {alias} ({model.class_name}) on {', '.join(model.queries)} "
            f"under {', '.join(model.schedulers)}"
        )
    version = os.environ.get(VERSION_OVERRIDE) or vmanomaly.__version__
    for line in preview(config, version, SystemClock().now()):
        print(line)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"--outputSpec: cannot write {path}: {error.strerror}") from error
    logger.info("The resolved configuration is in %s", path)
