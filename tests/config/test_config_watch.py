from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vmanomaly.config.loading.watch import ConfigWatch


class Settling:
    """Does something to the files while the watch waits for them to stand still."""

    def __init__(self) -> None:
        self.then: list[Callable[[], object]] = []
        self.waited: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        if self.then:
            self.then.pop(0)()


@pytest.fixture
def settling() -> Settling:
    return Settling()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1")
    return path


def replaced(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


@pytest.mark.parametrize("change", [Path.write_text, replaced])
def test_new_content_is_reported_once(
    file: Path, settling: Settling, change: Callable[[Path, str], object]
) -> None:
    watch = ConfigWatch([file], settling)
    assert not watch.has_changed()
    change(file, "a: 2")
    assert watch.has_changed()
    assert not watch.has_changed()
    change(file, "a: 1")
    assert watch.has_changed()


def test_a_file_that_is_only_touched_has_not_changed(file: Path, settling: Settling) -> None:
    watch = ConfigWatch([file], settling)
    os.utime(file, (1, 1))
    replaced(file, "a: 1")
    assert not watch.has_changed()
    assert settling.waited == []


def test_what_is_still_being_written_is_left_until_it_is_complete(
    file: Path, settling: Settling
) -> None:
    watch = ConfigWatch([file], settling)
    file.write_text("a: 2\nb:")
    settling.then = [lambda: file.write_text("a: 2\nb: 3")]
    assert not watch.has_changed()
    assert watch.has_changed()
    assert settling.waited == [1.0, 1.0]


def test_a_file_that_is_missing_for_a_moment_has_not_changed(
    file: Path, settling: Settling
) -> None:
    watch = ConfigWatch([file], settling)
    file.unlink()
    settling.then = [lambda: file.write_text("a: 1")]
    assert not watch.has_changed()
    assert not watch.has_changed()


def test_a_file_that_stays_away_has_changed(file: Path, settling: Settling) -> None:
    watch = ConfigWatch([file], settling)
    file.unlink()
    assert watch.has_changed()
    assert not watch.has_changed()


def test_files_come_and_go_in_a_folder(file: Path, settling: Settling) -> None:
    watch = ConfigWatch([file.parent], settling)
    (file.parent / "notes.txt").write_text("no configuration")
    (file.parent / ".hidden.yaml").write_text("nor this")
    assert not watch.has_changed()
    other = file.parent / "b.yml"
    other.write_text("b: 1")
    assert watch.has_changed()
    other.rename(other.with_suffix(".yaml"))
    assert watch.has_changed()
    other.with_suffix(".yaml").unlink()
    assert watch.has_changed()


def config_map(folder: Path, version: int) -> None:
    """Write a version of a ConfigMap as the kubelet does: into a new folder, by one rename."""
    content = folder / f"..version-{version}"
    content.mkdir()
    (content / "a.yaml").write_text(f"a: {version}")
    link = folder / "..data_tmp"
    link.symlink_to(content.name)
    link.rename(folder / "..data")
    if not (folder / "a.yaml").is_symlink():
        (folder / "a.yaml").symlink_to("..data/a.yaml")


@pytest.mark.parametrize("name", ["", "a.yaml"])
def test_a_config_map_that_is_rotated_has_changed(
    tmp_path: Path, settling: Settling, name: str
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    config_map(folder, 1)
    watch = ConfigWatch([folder / name], settling)
    assert not watch.has_changed()
    config_map(folder, 2)
    assert watch.has_changed()
    assert not watch.has_changed()
