"""Files that a kill cannot spoil: old or new and never a part, and lines up to where a kill cut them off."""

import os
import threading
from pathlib import Path

import pytest

from harness.files_on_disk import mend_lines, read_json, read_lines, write_whole, writing


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "weights"
    write_whole(path, "old")
    with pytest.raises(RuntimeError), writing(path) as partial:
        partial.write_bytes(b"half")
        assert path.read_text() == "old"
        raise RuntimeError
    assert path.read_text() == "old" and [file.name for file in path.parent.iterdir()] == ["weights"]
    with writing(path) as partial:
        partial.write_bytes(b"new")
    assert path.read_text() == "new" and [file.name for file in path.parent.iterdir()] == ["weights"]


def test_a_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "whole", "")
    assert os.stat(tmp_path / "whole").st_mode == os.stat(tmp_path / "plain").st_mode


def test_threads_may_write_one_file_at_once(tmp_path: Path) -> None:
    contents = [str(i) * 100_000 for i in range(8)]
    threads = [threading.Thread(target=write_whole, args=(tmp_path / "file", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_text() in contents and len(list(tmp_path.iterdir())) == 1


def test_what_is_no_json_reads_as_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "absent") is None and read_lines(tmp_path / "absent") == []
    for content in (b"{", b"\xff", b"[" * 100_000):
        (tmp_path / "file").write_bytes(content)
        assert read_json(tmp_path / "file") is None and read_lines(tmp_path / "file") == []
    write_whole(tmp_path / "file", '{"a": 1}')
    assert read_json(tmp_path / "file") == {"a": 1}


@pytest.mark.parametrize("cut", ['{"a":', "\xff", "3", '{"a":3}'])
def test_a_line_that_was_cut_off_is_left_out_and_the_next_one_does_not_join_it(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'{"a":1}\n[2]\n' + cut.encode("latin-1"))
    whole = [{"a": 1}, [2]] + ([{"a": 3}] if cut.endswith("}") else [])
    assert read_lines(path) == whole and mend_lines(path) == whole
    with path.open("a") as file:
        file.write('{"a":4}\n')
    assert read_lines(path) == [*whole, {"a": 4}]


def test_whole_lines_are_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert mend_lines(path) == [] and not path.exists()
    path.write_text('{"a": "\u2028"}\n')
    before = path.stat().st_ino
    assert mend_lines(path) == [{"a": "\u2028"}] and path.stat().st_ino == before
