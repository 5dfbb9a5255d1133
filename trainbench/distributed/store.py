"""The key-value store that the processes of a run share: JAX's coordination service.

All that is private to JAX stands in this file. JAX has no public way to this store, which lives in process 0;
collectives, which are public, would compile and run programs on the devices, and wait for a lost process
for ever.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import jax


class Store(Protocol):
    """Words under keys, which all processes see. Every call may raise Unreachable."""

    def put(self, key: str, words: str) -> None:
        """None; they stand under `key` from now on."""

    def put_first(self, key: str, words: str) -> bool:
        """Whether there was nothing under `key` before; only then the words are."""

    def get(self, key: str, timeout_s: float) -> str | None:
        """What stands under `key` within that time; None: nothing."""

    def all_under(self, folder: str) -> Mapping[str, str]:
        """What stands under keys that begin with `folder/`, by the rest of the key."""

    def remove(self, key: str) -> None:
        """None; nothing stands under `key`."""


class Unreachable(Exception):
    """The store does not answer: the process that it lives in, process 0, is gone."""


class CoordinationStore:
    """The store of the run that this process has joined.

    Attributes:
      index, count: of this process, and of all; `jax.process_index` would start the devices.
    """

    def __init__(self) -> None:
        from jax._src import distributed

        state = distributed.global_state
        self._client: Any = state.client
        self.index, self.count = state.process_id, state.num_processes

    def put(self, key: str, words: str) -> None:
        with _named_errors():
            self._client.key_value_set(key, words, allow_overwrite=True)

    def put_first(self, key: str, words: str) -> bool:
        try:
            with _named_errors():
                self._client.key_value_set(key, words)
        except _Status as error:
            if "ALREADY_EXISTS" in str(error):
                return False
            raise
        return True

    def get(self, key: str, timeout_s: float) -> str | None:
        try:
            with _named_errors():
                return str(self._client.blocking_key_value_get(key, round(timeout_s * 1000)))
        except _Status as error:
            if "DEADLINE_EXCEEDED" in str(error):
                return None
            raise

    def all_under(self, folder: str) -> Mapping[str, str]:
        with _named_errors():
            found = self._client.key_value_dir_get(f"{folder}/")
        return {key.removeprefix(f"{folder}/"): words for key, words in found}

    def remove(self, key: str) -> None:
        with _named_errors():
            self._client.key_value_delete(key)


class _Status(Unreachable):
    """What the service answers in place of a value."""


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        raise _Status(str(error)) from error


@contextmanager
def counting_arrivals(timeout_s: int) -> Iterator[None]:
    """In here a service that is started says after this time how many processes have come, and gives up.

    Without that each process gives up by itself, and none knows. `jax.distributed.initialize` has no argument
    for it.
    """
    from jax._src.lib import _jax

    start = _jax.get_distributed_runtime_service
    setattr(_jax, start.__name__, functools.partial(start, cluster_register_timeout=timeout_s))
    try:
        yield
    finally:
        setattr(_jax, start.__name__, start)
