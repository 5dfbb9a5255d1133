"""A store in memory, for processes that are threads."""

import threading
from collections.abc import Mapping

from trainbench.distributed.members import Members


class Memory:
    """What a coordination service keeps."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self._changed = threading.Condition()

    def put(self, key: str, words: str) -> None:
        with self._changed:
            self.kept[key] = words
            self._changed.notify_all()

    def put_first(self, key: str, words: str) -> bool:
        with self._changed:
            first = key not in self.kept
            self.kept.setdefault(key, words)
            self._changed.notify_all()
            return first

    def get(self, key: str, timeout_s: float) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: key in self.kept, timeout_s)
            return self.kept.get(key)

    def all_under(self, folder: str) -> Mapping[str, str]:
        start = f"{folder}/"
        with self._changed:
            return {
                key.removeprefix(start): words for key, words in self.kept.items() if key.startswith(start)
            }

    def remove(self, key: str) -> None:
        with self._changed:
            self.kept.pop(key, None)


def members(store: Memory, count: int) -> list[Members]:
    """All processes of a run, introduced to each other."""
    return each(count, lambda index: Members(store, index, count))


def each(count, work):
    """What `work` gives for each index, all at the same time."""
    found: dict[int, object] = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: work(i)})) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [found[index] for index in range(count)]
