"""Functions applied to what every source of a file has of a feature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from batchup.errors import InvalidTypeError
from batchup.typed_files.workers import in_order, pool_of

if TYPE_CHECKING:
    from batchup.typed_files.proxy import Proxy
    from batchup.typed_files.typed_file import TypedFile


def computed(
    proxy: Proxy,
    fdict: Mapping[str, Callable[[Any], Any]],
    n_workers: int | None,
    parallelism: str,
    destination: TypedFile | Proxy | None,
) -> Any:
    """Return the results by source, or put them into a file; see `Proxy.compute`."""
    if not isinstance(fdict, Mapping) or not all(callable(function) for function in fdict.values()):
        raise InvalidTypeError(f"fdict must be a dict of functions, got {fdict!r}")
    pool = pool_of(n_workers, parallelism)
    sources = proxy.sources.tolist()
    found: dict[str, Any] = {}
    results = in_order(pool, _applied, (dict(fdict),), Arrays(proxy, sources))
    for source, result in zip(sources, results, strict=True):
        if destination is None:
            found[source] = result
        else:
            destination.add(source, result)
    return found if destination is None else destination


class Arrays:
    """What sources have of a feature, read when it is asked for."""

    def __init__(self, proxy: Proxy, sources: list[str]) -> None:
        self._proxy = proxy
        self._sources = sources

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, some: Any) -> Any:
        return [self._proxy.get(source) for source in self._sources[some]]

    def __iter__(self) -> Iterator[Any]:
        return (self._proxy.get(source) for source in self._sources)


def _applied(fdict: Mapping[str, Callable[[Any], Any]], data: Any) -> dict[str, Any]:
    return {name: function(data) for name, function in fdict.items()}
