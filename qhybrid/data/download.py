"""Files with known checksums: found in the data folder or downloaded into it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from qhybrid.errors import DataError
from qhybrid.files import user_folder

ROOT_VARIABLE = "QHYBRID_DATA"


@dataclass(frozen=True)
class RemoteFile:
    """A published file and where it may lie below the data folder.

    Attributes:
        url: Address that the file is downloaded from.
        places: (path relative to the data folder, MD5 of the file there) in the order of search. The first is where
            a download goes; the others may be the same content in another form, such as uncompressed.
    """

    url: str
    places: tuple[tuple[str, str], ...]


def data_root(root: str | None) -> Path:
    """The data folder: `root` if given, else the environment's `QHYBRID_DATA`, else the user's cache folder."""
    return user_folder(root or os.environ.get(ROOT_VARIABLE))


def obtain(file: RemoteFile, root: Path, *, download: bool) -> Path:
    """Path of a file whose checksum has been verified; downloaded if it is missing and `download` is set.

    Args:
        file: Published file, with the places under `root` that it may lie in.
        root: Folder of data sets.
        download: Whether a missing file is downloaded.

    Raises:
        DataError: Missing and not to be downloaded; the download failed; the content is not the published one.
    """
    for place, md5 in file.places:
        path = root / place
        if path.is_file():
            verify(path, md5)
            return path
    place, md5 = file.places[0]
    target = root / place
    if not download:
        raise DataError(
            f"`{target}` is missing and `data.download` is false: set it to true, put {file.url} there, "
            f"or name the folder that holds the data with --data-root or {ROOT_VARIABLE}"
        )
    _download(file.url, md5, target)
    return target


def verify(path: Path, md5: str) -> None:
    """Compare a file with its published MD5.

    Raises:
        DataError: They differ (both sums are given), or the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "md5").hexdigest()
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror}") from None
    if found != md5:
        raise DataError(
            f"`{path}` is truncated or altered: its MD5 is {found}, the published one is {md5}; "
            "delete it to download it again"
        )


def _download(url: str, md5: str, target: Path) -> None:
    import pooch

    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 18, headers={"User-Agent": "qhybrid"})
    try:
        pooch.retrieve(url, f"md5:{md5}", fname=target.name, path=target.parent, downloader=downloader)
    # requests' exceptions are OSErrors; pooch reports a wrong checksum, with both sums, as ValueError.
    except (OSError, ValueError) as error:
        # pooch leaves a refused response (404 and the like) open.
        if (response := getattr(error, "response", None)) is not None:
            response.close()
        reason = " ".join(str(error).split())
        raise DataError(
            f"cannot download {url} to `{target}`: {reason}; check the connection and the folder, put the file there "
            f"by other means, or name the folder that holds the data with --data-root or {ROOT_VARIABLE}"
        ) from None
