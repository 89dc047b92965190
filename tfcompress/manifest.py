"""A folder's manifest: which files this project wrote into it, with their checksums.

It proves two things: that a file is whole, when it is read, and that it is ours, before it is removed or replaced.
Plain Python, as everything that writes folders uses it.
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
    """A file is not what was written, or the manifest that would tell is missing or damaged."""


def write_manifest(folder: str | os.PathLike[str], sums: Mapping[str, Iterable[str]] | None = None) -> None:
    """Writes the manifest of a folder; a process killed meanwhile leaves the old one.

    Args:
        folder: where it lies.
        sums: the SHA-256 that each file may have, by its path in the folder with "/"; by default those that the files
            in the folder have, those in its folders too. Several stand for a file that is just being replaced.

    Raises:
        ManifestError: a link, or something else that is neither file nor folder, is among the files.
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
    """Returns the SHA-256 that each file may have, by its path in the folder; see `write_manifest`.

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
        raise ManifestError(f"Expected {path} to be what tfcompress wrote. Received: a damaged file.")
    return sums


def sums_of(folder: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Returns the SHA-256 of every file in a folder but its manifest, in the form of `read_manifest`.

    An empty folder has an entry too, whose name ends with "/" and which has no checksum.

    Raises:
        ManifestError: a link, or something else that is neither file nor folder, is among them.
    """
    path = pathlib.Path(folder)
    return {name: () if name.endswith("/") else (sha256(path / name),) for name in _files_of(path)}


def check_manifest(folder: str | os.PathLike[str], names: Iterable[str] | None = None) -> None:
    """Checks that the files of a folder are whole; what else lies there does not matter.

    Args:
        folder: a folder with a manifest.
        names: the files to check, by their paths in the folder; by default all that the manifest has.

    Raises:
        ManifestError: names the file that is missing or not what was written.
    """
    path, sums = pathlib.Path(folder), read_manifest(folder)
    for name in sums if names is None else names:
        if name not in sums:
            raise ManifestError(f"Expected {name} in {path / MANIFEST}. Received: a manifest without it.")
        if name.endswith("/"):
            continue
        if not (path / name).is_file():
            raise ManifestError(f"Expected {path / name}, which {MANIFEST} has. Received: no such file.")
        if sha256(path / name) not in sums[name]:
            raise ManifestError(f"Expected {path / name} to be what tfcompress wrote. Received: a damaged file.")


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
    """Whether everything in a folder is provably ours; an empty folder is, as there is nothing to lose."""
    return not foreign(folder)


def foreign(
    folder: str | os.PathLike[str],
    names: Iterable[str] | None = None,
    sums: Mapping[str, Iterable[str]] | None = None,
) -> list[str]:
    """Returns what of a folder is not provably ours, by its path in the folder.

    That is everything that the manifest does not have or has with another checksum, and whatever is a link or a pipe.
    A damaged manifest proves nothing.

    Args:
        folder: an existing folder.
        names: the files and folders at its top to look at, of which missing ones are passed over; by default all.
        sums: the SHA-256 that each file may have, instead of those in the manifest.
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
    """Hexadecimal SHA-256 of a file's bytes."""
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
    """The manifest's text, which has a checksum of its own, so that a damaged one accuses no other file."""
    files = {name: list(sums[name]) for name in sorted(sums)}
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return json.dumps({"writer": _WRITER, "format": _FORMAT, "files": files, "sha256": digest}, indent=1) + "\n"
