"""What a start says of the kernels that it waits for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from numba import njit

from vmanomaly.service import work
from vmanomaly.service.work import Work


def test_only_what_is_compiled_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    half: Any = njit(lambda x: x / 2)

    def parts(_work: Work) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "the reader", lambda: half(1.0)
        # However long it takes, it is there already.
        yield "the writer", lambda: half(1.0)

    monkeypatch.setattr(work, "_with_kernels", parts)
    monkeypatch.setattr(work, "_LONG_S", 0.0)
    with caplog.at_level(logging.INFO):
        work.warm_up(cast("Work", None))
    told = [message.partition(" in ")[0] for message in caplog.messages]
    assert told[:-1] == ["Kernels of the reader (1 of 2) were compiled"]
    assert told[-1].startswith("Compiled kernels are ready after")
