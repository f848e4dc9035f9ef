from pathlib import Path

import pytest

from vmanomaly.demo.folder import CONFIG, SCORES, TELEMETRY, prepare
from vmanomaly.errors import UsageError


def test_a_new_folder_gets_the_config_file(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "demo"
    assert prepare(folder) is False
    assert "class: oneoff" in (folder / CONFIG).read_text()


def test_a_second_demo_renews_an_unedited_config_file(tmp_path: Path) -> None:
    prepare(tmp_path)
    content = (tmp_path / CONFIG).read_text()
    assert prepare(tmp_path) is False
    assert (tmp_path / CONFIG).read_text() == content


def test_an_edited_config_file_is_kept_and_a_deleted_one_comes_back(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / CONFIG).write_text("edited: true\n")
    assert prepare(tmp_path) is True
    assert prepare(tmp_path) is True
    assert (tmp_path / CONFIG).read_text() == "edited: true\n"
    (tmp_path / CONFIG).unlink()
    assert prepare(tmp_path) is False
    assert "class: oneoff" in (tmp_path / CONFIG).read_text()


@pytest.mark.parametrize("name", [CONFIG, TELEMETRY, SCORES, "report.html"])
def test_files_that_no_demo_wrote_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=rf"no demo wrote \({name}\)"):
        prepare(tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_with_other_files_is_fine(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert prepare(tmp_path) is False
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_in_place_of_the_folder_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(UsageError, match="choose another folder"):
        prepare(tmp_path / "demo")
