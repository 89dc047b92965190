"""Stages: all new files or none, and nothing of anybody else's is touched."""

import os
import pathlib
import subprocess
import sys
import threading

import pytest

from tfcompress.manifest import MANIFEST, check_manifest
from tfcompress.staging import Stage, recover, refuse_foreign

# Killed while it renames: after `renames` of them.
_KILLED = """
import os, pathlib, sys
from tfcompress.staging import Stage
left = int(sys.argv[2])
real = pathlib.Path.rename
def rename(self, target):
    global left
    if not left: os._exit(9)
    left -= 1
    return real(self, target)
with Stage(sys.argv[1]) as stage:
    for name in ("a", "b"): (stage.new / name).write_text("newer")
    if left < 0: os._exit(9)
    pathlib.Path.rename = rename
    stage.place(whole=True)
    if sys.argv[3:]: os._exit(9)
"""


def write(folder, text="new", names=("a", "b"), whole=False):
    with Stage(folder) as stage:
        for name in names:
            path = stage.new / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        stage.place(whole)


def tree(folder):
    """Contents by path, links as what they point to."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file() and path.name != MANIFEST:
            found[name] = path.read_text()
    return found


def test_new_files_come_with_a_manifest_into_a_folder_that_is_made(tmp_path):
    write(tmp_path / "deep" / "out", names=("a", "inner/b"))
    assert tree(tmp_path / "deep" / "out") == {"a": "new", "inner/b": "new"}
    check_manifest(tmp_path / "deep" / "out")


def test_what_stood_there_by_our_hand_is_replaced_file_by_file_or_whole(tmp_path):
    write(tmp_path, "old", ("a", "inner/b", "inner/c", "d"))
    write(tmp_path, "new", ("a", "inner/b"))
    assert tree(tmp_path) == {"a": "new", "d": "old", "inner/b": "new"}
    check_manifest(tmp_path)
    write(tmp_path, "newer", ("a",), whole=True)
    assert tree(tmp_path) == {"a": "newer"}
    check_manifest(tmp_path)


def test_foreign_files_beside_ours_stay_and_refuse_only_what_would_replace_the_whole(tmp_path):
    write(tmp_path, "old")
    (tmp_path / "users").write_text("x")
    write(tmp_path, "new")
    assert tree(tmp_path) == {"a": "new", "b": "new", "users": "x"}
    with pytest.raises(FileExistsError, match="Received: users"):
        write(tmp_path, "newer", whole=True)
    assert tree(tmp_path) == {"a": "new", "b": "new", "users": "x"}


@pytest.mark.parametrize("kind", ["file", "folder", "empty", "link", "dangling", "changed", "inside", "manifest"])
@pytest.mark.parametrize("whole", [False, True])
def test_nothing_foreign_in_the_way_is_touched(tmp_path, kind, whole):
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_text("x")
    name = "a"
    if kind == "file":
        (folder / "a").write_text("users")
    elif kind == "folder":
        (folder / "a").mkdir()
        (folder / "a" / "users").write_text("x")
        name = "a/"
    elif kind == "empty":
        (folder / "a").mkdir()
        name = "a/"
    elif kind == "link":
        (folder / "a").symlink_to(elsewhere)
    elif kind == "dangling":
        (folder / "a").symlink_to("nowhere")
    elif kind == "changed":
        write(folder, "old")
        (folder / "a").write_text("the user's own words")
    elif kind == "inside":
        write(folder, "old", ("a/b",))
        (folder / "a" / "users").write_text("x")
        name = "a/users"
    else:
        (folder / MANIFEST).write_text('{"name": "of another program"}')
        name = MANIFEST
    before = tree(folder)
    with pytest.raises(FileExistsError, match=f"Received: {name}"):
        refuse_foreign(folder, None if whole else ["a", "b"])
    with pytest.raises(FileExistsError, match=f"Received: {name}"):
        write(folder, whole=whole)
    assert tree(folder) == before
    assert tree(tmp_path)["elsewhere"] == "x"


def test_many_foreign_files_are_counted(tmp_path):
    for number in range(8):
        (tmp_path / f"file{number}").write_text("x")
    with pytest.raises(FileExistsError, match="file0, file1, file2, file3, file4 and 3 more"):
        refuse_foreign(tmp_path)


def test_a_link_to_a_folder_stands_for_it_and_other_links_are_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", whole=True)
    write(tmp_path / "link", "newer", whole=True)
    assert (tmp_path / "link").is_symlink()
    assert tree(tmp_path / "real") == {"a": "newer", "b": "newer"}
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_text("x")
    (tmp_path / "to_file").symlink_to("file")
    for name, kind in (("dangling", "a link that leads"), ("file", "a file"), ("to_file", "a link that leads")):
        with pytest.raises(FileExistsError, match=kind):
            refuse_foreign(tmp_path / name)
        with pytest.raises(OSError):
            write(tmp_path / name)
    assert tree(tmp_path)["file"] == "x"


def test_an_error_leaves_no_trace(tmp_path):
    with pytest.raises(ValueError, match="mine"), Stage(tmp_path / "deep" / "out") as stage:
        (stage.new / "a").write_text("half")
        raise ValueError("mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("whole", [False, True])
def test_a_rename_that_fails_undoes_those_before_it(tmp_path, monkeypatch, whole):
    write(tmp_path, "old", ("a", "b", "c"))
    (tmp_path / "users").touch(exist_ok=False) if not whole else None
    before = tree(tmp_path)
    rename = pathlib.Path.rename
    for failing in range(6):
        left = [failing]

        def renaming(self, target, left=left):
            left[0] -= 1
            if left[0] == -1:
                raise OSError(28, "No space left on device")
            return rename(self, target)

        monkeypatch.setattr(pathlib.Path, "rename", renaming)
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path, "new", whole=whole)
        monkeypatch.setattr(pathlib.Path, "rename", rename)
        assert tree(tmp_path) == before
        check_manifest(tmp_path)
    assert not list(tmp_path.glob(".tfcompress-*"))


def killed(folder, *arguments):
    process = subprocess.run([sys.executable, "-c", _KILLED, str(folder), *arguments])
    assert process.returncode == 9
    assert list(folder.glob(".tfcompress-*"))


@pytest.mark.parametrize("renames", [-1, 0, 2, 4, 5])
def test_a_killed_process_is_undone(tmp_path, renames):
    write(tmp_path, "old", ("a", "c"))
    killed(tmp_path, str(renames))
    recover(tmp_path)
    assert tree(tmp_path) == {"a": "old", "c": "old"}
    check_manifest(tmp_path)
    write(tmp_path, "new", whole=True)
    assert tree(tmp_path) == {"a": "new", "b": "new"}


def test_a_process_killed_at_the_end_has_done_its_work(tmp_path):
    write(tmp_path, "old", ("a", "c"))
    killed(tmp_path, "99", "at the end")
    assert (tmp_path / "a").read_text() == "newer"
    recover(tmp_path)
    assert tree(tmp_path) == {"a": "newer", "b": "newer"}


def test_what_a_user_did_after_a_kill_is_kept(tmp_path):
    write(tmp_path, "old", ("a", "c"))
    killed(tmp_path, "4")  # the new "a" is there, the old files are in the stage
    (tmp_path / "a").write_text("the user's")
    recover(tmp_path)
    assert tree(tmp_path)["a"] == "the user's"
    assert "old" in tree(tmp_path).values()


def test_a_stage_in_use_and_folders_that_look_like_one_stay(tmp_path):
    (tmp_path / ".tfcompress-users").mkdir()
    (tmp_path / ".tfcompress-users" / "notes").write_text("x")
    with Stage(tmp_path) as stage:
        (stage.new / "a").write_text("first")
        write(tmp_path, "second")
        assert (stage.new / "a").read_text() == "first"
        stage.place()
    assert tree(tmp_path) == {"a": "first", "b": "second", ".tfcompress-users/notes": "x"}
    check_manifest(tmp_path)
    with pytest.raises(FileExistsError, match=r"\.tfcompress-users/"):
        write(tmp_path, whole=True)


def test_threads_that_write_into_one_folder_lose_nothing(tmp_path):
    threads = [threading.Thread(target=write, args=(tmp_path, "x", (f"file{n}",))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tree(tmp_path)) == 8
    check_manifest(tmp_path)
    assert refuse_foreign(tmp_path).keys() == tree(tmp_path).keys()


def test_the_current_folder_stays_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(".", whole=True)
    write(".", "newer", whole=True)
    assert pathlib.Path("a").read_text() == "newer"


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("x.pb; No space left on device")]
)
def test_a_full_disk_is_said_with_its_place(tmp_path, error):
    with (
        pytest.raises(OSError, match=r"^Expected room on the disk .* Received: .* free .*Make room") as caught,
        Stage(tmp_path / "out"),
    ):
        raise error
    assert caught.value.errno == 28 and str(tmp_path) in str(caught.value)
    assert not list(tmp_path.iterdir())
