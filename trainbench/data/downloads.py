"""The one way by which preparing a data set reaches the network, and its guard."""

import contextlib
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from tensorflow_datasets.core.download import downloader

# A host that does not answer within this time is taken for absent.
ANSWER_S = 1.5

# TFDS tries ten times, which keeps a machine without network waiting for minutes.
RETRIES = 3

_PORTS = {"http": 80, "https": 443, "ftp": 21}


@contextlib.contextmanager
def guarded(check: Callable[[str], None]) -> Iterator[None]:
    """TFDS downloads pass through `check(url)` first, which raises if one may not be."""
    original, retries = downloader._Downloader.download, downloader.MAX_RETRIES

    def download(self: Any, url: str, *arguments: Any, **options: Any) -> Any:
        check(url)
        return original(self, url, *arguments, **options)

    downloader._Downloader.download = download
    downloader.MAX_RETRIES = RETRIES
    try:
        yield
    finally:
        downloader._Downloader.download = original
        downloader.MAX_RETRIES = retries


def unreachable(url: str) -> str | None:
    """Why the host of `url` cannot be reached, or None; answers within about two seconds.

    Behind a proxy only a download itself can tell, so None.
    """
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    if host is None or port is None or {parts.scheme, "all"} & set(urllib.request.getproxies()):
        return None
    answer = [f"{host} does not answer within {ANSWER_S:.1f} s"]
    # Looking up a name can take far longer than any limit that can be set for it.
    thread = threading.Thread(target=_connect, args=(host, port, answer), name="reachable", daemon=True)
    thread.start()
    thread.join(ANSWER_S)
    return answer[0] or None


def _connect(host: str, port: int, answer: list[str]) -> None:
    try:
        socket.create_connection((host, port), timeout=ANSWER_S).close()
        answer[0] = ""
    except OSError as error:
        answer[0] = f"{host}: {error.strerror or error}"
