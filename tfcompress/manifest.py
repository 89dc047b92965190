"""A folder's manifest: the files that this project wrote into it, with their checksums.

A file is checked against it for damage when it is read, and for being ours before it is removed or replaced.
Plain Python, because everything that writes folders uses it.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import uuid
from collections.abc import Iterable, Mapping

__all__ = [
    "MANIFEST",
    "ManifestError",
    "check_manifest",
    "enlist",
    "foreign",
    "owned",
    "read_manifest",
    "sha256",
    "sums_of",
    "write_manifest",
]

MANIFEST = "tfcompress_manifest.json"
_WRITER, _FORMAT = "tfcompress", 1


class ManifestError(ValueError):
    """A file differs from what was written, or the manifest is missing or damaged."""


def write_manifest(folder: str | os.PathLike[str], sums: Mapping[str, Iterable[str]] | None = None) -> None:
    """Writes the manifest of a folder; if the process is killed meanwhile, the old one stays.

    Args:
        folder: the folder.
        sums: the valid SHA-256 sums of each file, by its path in the folder with "/"; by default the present sums of
            all files in the folder and its subfolders. A file that is just being replaced has several.

    Raises:
        ManifestError: the folder holds a link, or something else that is neither file nor folder.
        OSError: the folder cannot be read or written.
    """
    path = pathlib.Path(folder)
    if sums is None:
        sums = sums_of(path)
    part = path / f".{MANIFEST}-{uuid.uuid4().hex}"  # a name that nobody else has
    try:
        with open(part, "x", encoding="utf-8") as file:
            file.write(_text({name: tuple(values) for name, values in sums.items()}))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path / MANIFEST)
    finally:
        part.unlink(missing_ok=True)


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Returns the valid SHA-256 sums of each file, by its path in the folder; see `write_manifest`.

    Raises:
        ManifestError: there is no manifest, or it is damaged.
    """
    path = pathlib.Path(folder) / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise ManifestError(f"Expected a folder with a {MANIFEST}. Received: {str(folder)!r}, which has none.")
    try:
        text = path.read_bytes().decode("utf-8")
        sums = {str(name): tuple(map(str, values)) for name, values in json.loads(text)["files"].items()}
        intact = text == _text(sums)
    except (ValueError, KeyError, TypeError, AttributeError):
        intact = False
    if not intact:
        raise ManifestError(f"Expected {path} as tfcompress wrote it. Received: a damaged file.")
    return sums


def sums_of(folder: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Returns the SHA-256 of every file in a folder except its manifest, in the form of `read_manifest`.

    An empty folder has an entry too: its name ends with "/", and it has no checksum.

    Raises:
        ManifestError: the folder holds a link, or something else that is neither file nor folder.
    """
    path = pathlib.Path(folder)
    return {name: () if name.endswith("/") else (sha256(path / name),) for name in _files_of(path)}


def check_manifest(folder: str | os.PathLike[str], names: Iterable[str] | None = None) -> None:
    """Checks that the files of a folder are undamaged; files that are not checked do not matter.

    Args:
        folder: a folder with a manifest.
        names: the files to check, by their paths in the folder; by default all files of the manifest.

    Raises:
        ManifestError: names the file that is missing or differs from what was written.
    """
    path, sums = pathlib.Path(folder), read_manifest(folder)
    for name in sums if names is None else names:
        if name not in sums:
            raise ManifestError(f"Expected {name} in {path / MANIFEST}. Received: a manifest without it.")
        if name.endswith("/"):
            continue
        if not (path / name).is_file():
            raise ManifestError(f"Expected {path / name}, which {MANIFEST} lists. Received: no such file.")
        if sha256(path / name) not in sums[name]:
            raise ManifestError(f"Expected {path / name} as tfcompress wrote it. Received: a damaged file.")


def enlist(path: pathlib.Path) -> None:
    """Adds a file to the manifest of its folder, or says that it has other content; nothing where there is none.

    Raises:
        OSError: the folder cannot be written.
    """
    try:
        sums = read_manifest(path.parent)
    except ManifestError:
        return
    write_manifest(path.parent, {**sums, path.name: (sha256(path),)})


def owned(folder: str | os.PathLike[str]) -> bool:
    """Whether everything in a folder is provably ours; true for an empty folder, as there is nothing to lose."""
    return not foreign(folder)


def foreign(
    folder: str | os.PathLike[str],
    names: Iterable[str] | None = None,
    sums: Mapping[str, Iterable[str]] | None = None,
) -> list[str]:
    """Returns the entries of a folder that are not provably ours, by their paths in the folder.

    These are entries that the manifest lacks or has with another checksum, and all links and pipes. A damaged
    manifest proves nothing.

    Args:
        folder: an existing folder.
        names: the files and folders at its top to look at; missing ones are skipped; by default all.
        sums: the valid SHA-256 sums of each file, instead of those in the manifest.
    """
    path = pathlib.Path(folder)
    if sums is None:
        try:
            sums = read_manifest(path)
        except ManifestError:
            sums = {}
    entries: list[str] = []
    for name in sorted(os.listdir(path)) if names is None else names:
        if name == MANIFEST and sums:
            continue
        entries += _foreign(path, name, sums)
    return entries


def sha256(path: str | os.PathLike[str]) -> str:
    """Returns the hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _foreign(folder: pathlib.Path, name: str, sums: Mapping[str, Iterable[str]]) -> list[str]:
    path = folder / name
    if not os.path.lexists(path):
        return []
    if path.is_dir() and not path.is_symlink():
        # A folder that the manifest has nothing of is not looked into, large as it may be.
        if f"{name}/" not in sums and not any(listed.startswith(f"{name}/") for listed in sums):
            return [f"{name}/"]
        inner = [f"{name}/{child}" for child in sorted(os.listdir(path))]
        return [entry for inner_name in inner for entry in _foreign(folder, inner_name, sums)]
    ours = name in sums and path.is_file() and not path.is_symlink() and sha256(path) in sums[name]
    return [] if ours else [name]


def _files_of(folder: pathlib.Path, below: str = "") -> list[str]:
    names: list[str] = []
    for entry in sorted(os.scandir(folder / below), key=lambda entry: entry.name):
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise ManifestError(f"Expected files and folders. Received: {folder / name}, which is neither.")
        if entry.is_dir():
            names += _files_of(folder, name) or [f"{name}/"]
        elif name != MANIFEST:
            names.append(name)
    return names


def _text(sums: Mapping[str, tuple[str, ...]]) -> str:
    """Returns the manifest's text, which has its own checksum, so that a damaged manifest accuses no other file."""
    files = {name: list(sums[name]) for name in sorted(sums)}
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return json.dumps({"writer": _WRITER, "format": _FORMAT, "files": files, "sha256": digest}, indent=1) + "\n"
