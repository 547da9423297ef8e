"""The file of a released checkpoint: in the package, put there by hand, kept from before, or fetched; and verified."""

import hashlib
import os
import sys
from importlib.resources import files
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from allmlp.errors import WeightsError
from allmlp.files import users_own, whole_file
from allmlp.released.table import Released

SUFFIXES = (".safetensors", ".pth", ".npz")
HUB_FILE = "model.safetensors"
PATIENCE = 10
"""Seconds within which a server must answer at all."""


def home() -> Path:
    """The folder for files fetched or put there by hand: $ALLMLP_HOME, else allmlp in the user's cache."""
    given = os.environ.get("ALLMLP_HOME")
    if given:
        return Path(given).expanduser()
    return users_own(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "allmlp"


def fetch(entry: Released) -> Path:
    """Its file on this machine, fetched when it is not here yet.

    Raises WeightsError when it cannot be fetched, with where to put it by hand, and when it is not the released file.
    """
    path = kept(entry)
    if path is not None:
        return verified(entry, path)
    failures = []
    for address, attempt in ((entry.hub, _from_hub), (entry.url, _from_url)):
        if address is None:
            continue
        try:
            path = attempt(entry, address)
        except Exception as error:  # network libraries raise whatever they stumble over
            failures.append(f"{address}: {(str(error).splitlines() or [''])[0] or type(error).__name__}")
        else:
            return verified(entry, path)
    raise WeightsError(_unfetched(entry, failures), hint=_by_hand(entry))


def kept(entry: Released) -> Path | None:
    """Its file in the package, or where it was put by hand or fetched to before; None where it is nowhere."""
    if entry.file:
        return Path(str(files("allmlp.released").joinpath("weights", entry.file)))
    for suffix in SUFFIXES:
        path = home() / f"{entry.name}{suffix}"
        if path.is_file():
            return path
    if entry.hub:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(entry.hub, HUB_FILE)
        if isinstance(found, str):
            return Path(found)
    return None


def verified(entry: Released, path: Path) -> Path:
    """The same path, when the file is the released one as far as that is known."""
    published = entry.file or (entry.url or "").rpartition("/")[2]
    if entry.sha256 and path.suffix == Path(published).suffix:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(entry.sha256):
            raise WeightsError(
                f"{path} is not the released {entry.name}: its SHA-256 begins with {digest[:8]}, not {entry.sha256[:8]}",
                hint="remove it, and fetch it again",
            )
    return path


def _from_hub(entry: Released, repository: str) -> Path:
    from huggingface_hub import constants, hf_hub_download

    if not constants.HF_HUB_OFFLINE:
        _answer(f"{constants.ENDPOINT}/{repository}")
    return Path(hf_hub_download(repository, HUB_FILE))


def _from_url(entry: Released, url: str) -> Path:
    from torch.hub import download_url_to_file

    length = _answer(url)
    path = home() / f"{entry.name}{Path(url).suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        download_url_to_file(url, str(temporary), hash_prefix=entry.sha256, progress=sys.stderr.isatty())
        if length is not None and temporary.stat().st_size != length:
            raise OSError(f"cut short: {temporary.stat().st_size:,} of {length:,} bytes came")
    return path


def _answer(address: str) -> int | None:
    """Bytes that the address has, as far as it says. Raises OSError soon where there is no network, which the
    libraries below do only after many attempts, or never."""
    try:
        with urlopen(Request(address, method="HEAD", headers={"User-Agent": "allmlp"}), timeout=PATIENCE) as answer:
            length = answer.headers.get("Content-Length")
            return int(length) if length else None
    except HTTPError:  # an answer of some kind; what it means is for the download to say
        return None


def _unfetched(entry: Released, failures: list[str]) -> str:
    if failures:
        return "\n".join([f"{entry.name} is not on this machine and could not be fetched", *(f"  {f}" for f in failures)])
    return f"{entry.name} is not on this machine, and no program can fetch it from where its authors put it"


def _by_hand(entry: Released) -> str:
    from huggingface_hub import constants

    source = entry.page or (f"{constants.ENDPOINT}/{entry.hub}/resolve/main/{HUB_FILE}" if entry.hub else entry.url)
    place = home() / f"{entry.name}{SUFFIXES[0]}"
    return f"get the file from {source} and put it at {place} ({' or '.join(SUFFIXES[1:])}, if that is its kind)"
