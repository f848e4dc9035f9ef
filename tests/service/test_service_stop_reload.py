"""A stop that comes while another configuration is applied, whatever the moment."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from tests.config_helpers import changed, load
from tests.service.test_service_apply import BASE, World, continuous, threads
from vmanomaly.series import JobKey
from vmanomaly.state.index import read_index

MOMENTS = [
    "vmanomaly.service.service.create_models",
    "vmanomaly.service.service.create_work",
    "vmanomaly.service.service.warm_up",
    "vmanomaly.service.schedulers.Schedulers.end",
    "vmanomaly.service.keeper.Keeper.take_over",
    "vmanomaly.service.keeper.Keeper.drop_all_but",
    "vmanomaly.service.schedulers.Schedulers.start",
    "vmanomaly.service.service.Service._close_readers",
    "vmanomaly.service.service.Service._describe",
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_at_any_moment_of_a_reload(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    moment: str,
    when: str,
) -> None:
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    base = changed({"settings.restore_state": True}, BASE)
    world = World(monkeypatch, base, {"VMANOMALY_MODEL_DUMPS_DIR": str(tmp_path)})
    try:
        world.settle()
        world.pass_minutes(2)
        applying: threading.Thread | None = None

        def stop_and_end() -> None:
            world.service.stop()
            # All the way to the end where nothing waits for this thread.
            world.thread.join(0.3)

        place, _, name = moment.rpartition(".")
        original = _function(moment)
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):

            def stopping(*args: Any, **kwargs: Any) -> Any:
                if threading.current_thread() is not applying:
                    return original(*args, **kwargs)
                if when == "before":
                    stop_and_end()
                result = original(*args, **kwargs)
                if when == "after":
                    stop_and_end()
                return result

            patch.setattr(f"{place}.{name}", stopping)
            config = load(changed({"models.y.decay": 0.9}, base), world.environ)
            applying = threading.Thread(target=world.service.apply, args=(config,))
            applying.start()
            applying.join(60)
            world.thread.join(60)
        assert not applying.is_alive()
        assert not world.thread.is_alive()
        assert threads() == {}
        assert [record.getMessage() for record in caplog.records] == []
        entries, progress = read_index(tmp_path)
        assert {(key.scheduler_alias, key.model_alias) for key in entries} >= {("quick", "x")}
        # What the change concerns may be dropped already.
        assert progress.keys() >= {JobKey("quick", ("a",)), JobKey("quick", ("b",))}
        world.start(base)
        world.settle()
        world.pass_minutes(2)
        # What the change does not concern goes on without a fit.
        assert world.runs("fit", "quick", "x", "a") is None
        assert continuous(world.scored("quick", "x", "a"))
    finally:
        world.close()


def _function(moment: str) -> Callable[..., Any]:
    module, _, name = moment.rpartition(".")
    found: Callable[..., Any] = getattr(resolve_name(module), name)
    return found
