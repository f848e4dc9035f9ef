from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.fakes import eventually
from vmanomaly.errors import UsageError, VmanomalyError
from vmanomaly.output_file import write_file


def test_a_file_that_cannot_be_completed_keeps_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copymode", full)
    with pytest.raises(VmanomalyError, match=r"report.html: No space left on device") as caught:
        write_file(path, "after")
    assert not isinstance(caught.value, UsageError)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"report.html": "before"}


@pytest.mark.parametrize("name", ["missing/a.yaml", ".", "a" * 300])
def test_a_path_that_can_be_no_file_is_a_wrong_argument(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write_file(tmp_path / name, "a")


def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a.yaml", "a")
    assert list(tmp_path.iterdir()) == []


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "a.yaml", tmp_path / "link.yaml"
    path.write_text("before")
    path.chmod(0o640)
    link.symlink_to(path)
    write_file(link, "after")
    assert link.is_symlink()
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    other = tmp_path / "b.yaml"
    other.symlink_to("b.yaml")  # It leads nowhere.
    write_file(other, "new")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(other.stat().st_mode) == 0o666 & ~mask


def test_a_file_whose_folder_is_not_writable_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a single file is mounted into a container."""
    path = tmp_path / "mounted.html"
    path.write_text("before")

    def busy(*_: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    write_file(path, "after")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"mounted.html": "after"}


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    write_file(pipe, "text")
    assert eventually(lambda: received == ["text"])


def test_a_full_device_is_named() -> None:
    with pytest.raises(VmanomalyError, match="cannot write /dev/full: No space left on device"):
        write_file(Path("/dev/full"), "text")
