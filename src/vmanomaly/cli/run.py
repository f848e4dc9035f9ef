"""The command without a subcommand: from arguments to a running service."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import vmanomaly
from vmanomaly.cli.arguments import parse_arguments
from vmanomaly.cli.dispatch import DONE
from vmanomaly.cli.output import write_output
from vmanomaly.cli.signals import call_on_reload_signals, call_on_stop_signals
from vmanomaly.config import Config, load_config, resolved_yaml
from vmanomaly.config.loading.load import load_again
from vmanomaly.config.loading.watch import ConfigWatch
from vmanomaly.config.secrets import shown_name
from vmanomaly.errors import VmanomalyError
from vmanomaly.logs import configure_logging, set_logger_levels, warnings_only
from vmanomaly.output_file import write_file
from vmanomaly.printable import on_one_line

if TYPE_CHECKING:
    from vmanomaly.application import Application

logger = logging.getLogger("vmanomaly.cli")


def run(arguments: Sequence[str]) -> int:
    """Run the service, or what the options ask for instead; return the exit status."""
    options = parse_arguments(arguments)
    configure_logging(options.logger_level, options.logger_format)
    logger.info("vmanomaly %s", vmanomaly.__version__)
    if options.licensed:
        logger.info("No license is needed; the options about it are ignored")
    watch = ConfigWatch(options.configs, pause=time.sleep)
    config = load_config(options.configs, os.environ)
    set_logger_levels(config.settings.logger_levels, options.logger_level)
    logger.info("Config has been loaded successfully")
    if options.output_spec is not None:
        _write(options.output_spec, resolved_yaml(_own_part(config)))
    if options.dry_run:
        _print_plan(config)
        return DONE
    from vmanomaly.application import Application

    application = Application(config, options.logger_level)
    return serve(application, config, options, watch, os.environ)


def serve(
    application: Application,
    config: Config,
    options: Namespace,
    watch: ConfigWatch,
    environ: Mapping[str, str],
) -> int:
    """Run an application until it ends, and do what signals ask for; return the exit status.

    Parameters
    ----------
    application
        What runs.
    config
        Its configuration.
    options
        `configs`, `watch` and `config_check_interval`, as `parse_arguments` returns them.
    watch
        Tells whether the files of the configuration have changed.
    environ
        The environment variables with which they are read again.
    """
    from vmanomaly.service.reload import Reloader

    reloader = Reloader(
        lambda: load_again(options.configs, environ),
        application.apply,
        application.give_up,
        application.metrics,
        watch.has_changed if options.watch else None,
        options.config_check_interval.seconds,
    )

    def stop(received: signal.Signals) -> None:
        logger.info("%s: finishing what is in progress", received.name)
        application.stop()

    call_on_stop_signals(stop)
    call_on_reload_signals(reloader.reload_soon)
    reloader.start()
    with _progress(config) as on_progress:
        status = application.run(on_progress)
    reloader.stop()
    logger.info("Stopped" if status == DONE else "Ended with failures; see the log above")
    if application.abandoned:
        # A thread that hangs in a request would keep the process alive.
        logging.shutdown()
        os._exit(status)
    return status


@contextmanager
def _progress(config: Config) -> Iterator[Callable[[int, int, str], None] | None]:
    """Show a bar instead of the log if there is a terminal and all schedulers end by themselves."""
    sections = config.schedulers.values()
    all_end = bool(sections) and all(section.ends_by_itself for section in sections)
    if not all_end or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    from vmanomaly.progress import progress_bar

    with progress_bar(Console(stderr=True), "starting") as show, warnings_only():
        yield show


def _own_part(config: Config) -> Config:
    """Return what this member runs; of one alone, the classes of custom models stay unloaded."""
    if config.member.is_alone:
        return config
    from vmanomaly.config.splitting import own_part
    from vmanomaly.service.plan import with_custom_classes

    return own_part(with_custom_classes(config))


def _print_plan(config: Config) -> None:
    from vmanomaly.clock import SystemClock
    from vmanomaly.config.splitting import described, own_part
    from vmanomaly.service.plan import create_models, with_custom_classes
    from vmanomaly.service.preview import preview
    from vmanomaly.state.compatibility import VERSION_OVERRIDE

    config = own_part(with_custom_classes(config))
    create_models(config)
    version = os.environ.get(VERSION_OVERRIDE) or vmanomaly.__version__
    what = "run:" if config.models else "run no model, and only answer HTTP requests."
    lines = [f"The configuration is valid. It would {what}"]
    if config.share is not None:
        lines = [f"The configuration is valid. {described(config.member, config.share)}"]
        lines += [f"  {on_one_line(name)}" for name in config.share.names]
    lines += [
        f"  model {shown_name(alias)} ({shown_name(model.class_name)}) "
        f"on {', '.join(map(shown_name, model.queries))} "
        f"under {', '.join(map(shown_name, model.schedulers))}"
        for alias, model in config.models.items()
        if config.share is None
    ]
    if config.models:
        lines += map(on_one_line, preview(config, version, SystemClock().now()))
    write_output("\n".join(lines) + "\n")


def _write(path: Path, text: str) -> None:
    try:
        write_file(path, text)
    except VmanomalyError as error:
        raise type(error)(f"--outputSpec: {error}") from error
    logger.info("The resolved configuration is in %s", path)
