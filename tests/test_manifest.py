"""Manifests: what proves that a file is whole, and that it is ours."""

import hashlib
import json
import os

import pytest

from tfcompress import manifest
from tfcompress.manifest import MANIFEST, ManifestError, check_manifest, foreign, owned, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "inner" / "b.txt").write_text("two")
    write_manifest(tmp_path)
    return tmp_path


def test_the_manifest_holds_the_sha256_of_every_file(folder):
    content = json.loads((folder / MANIFEST).read_text())
    expected = {
        "a.txt": [hashlib.sha256(b"one").hexdigest()],
        "inner/b.txt": [hashlib.sha256(b"two").hexdigest()],
    }
    assert content["files"] == expected
    check_manifest(folder)
    assert owned(folder) and foreign(folder) == []
    assert sorted(os.listdir(folder)) == ["a.txt", "inner", MANIFEST]


def test_any_flipped_bit_is_found_and_the_file_is_named(folder):
    for name in ("a.txt", "inner/b.txt", MANIFEST):
        path = folder / name
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
            with pytest.raises(ManifestError, match=f"{name} as tfcompress wrote it"):
                check_manifest(folder)
        path.write_bytes(content)


def test_a_missing_file_is_named_and_more_files_do_not_matter(folder):
    (folder / "more").write_text("x")
    check_manifest(folder)
    (folder / "inner" / "b.txt").unlink()
    check_manifest(folder, ["a.txt"])
    with pytest.raises(ManifestError, match=r"inner/b\.txt.*no such file"):
        check_manifest(folder)
    with pytest.raises(ManifestError, match="without it"):
        check_manifest(folder, ["more"])
    (folder / MANIFEST).unlink()
    with pytest.raises(ManifestError, match="which has none"):
        check_manifest(folder)


def test_everything_that_is_not_provably_ours_is_foreign(folder):
    (folder / "a.txt").write_text("changed")
    (folder / "inner" / "users").write_text("x")
    (folder / "empty").mkdir()
    (folder / "link").symlink_to(folder / "inner" / "b.txt")
    os.mkfifo(folder / "pipe")
    assert foreign(folder) == ["a.txt", "empty/", "inner/users", "link", "pipe"]
    assert foreign(folder, ["link", "absent", "inner"]) == ["link", "inner/users"]
    assert not owned(folder)


def test_a_file_replaced_by_a_link_to_the_same_content_is_foreign(folder):
    (folder / "a.txt").rename(folder.parent / "elsewhere")
    (folder / "a.txt").symlink_to(folder.parent / "elsewhere")
    assert foreign(folder) == ["a.txt"]


def test_a_damaged_or_missing_manifest_proves_nothing(folder):
    (folder / MANIFEST).write_text("{}")
    assert foreign(folder) == ["a.txt", "inner/", MANIFEST]
    (folder / MANIFEST).unlink()
    assert foreign(folder) == ["a.txt", "inner/"]


def test_an_empty_folder_is_owned(tmp_path):
    assert owned(tmp_path)


def test_links_are_never_written_into_a_manifest(folder):
    (folder / "link").symlink_to("a.txt")
    with pytest.raises(ManifestError, match=r"link, which is neither"):
        write_manifest(folder)


def test_a_file_being_replaced_may_have_either_checksum(folder):
    sums = dict(manifest.read_manifest(folder))
    write_manifest(folder, {**sums, "a.txt": (*sums["a.txt"], hashlib.sha256(b"new").hexdigest())})
    check_manifest(folder)
    (folder / "a.txt").write_text("new")
    assert owned(folder)
    (folder / "a.txt").write_text("other")
    assert foreign(folder) == ["a.txt"]
