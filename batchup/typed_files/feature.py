"""What a class of files declares: features, which load sources, and groups of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from batchup.errors import InvalidTypeError
from batchup.typed_files.layout import checked_name

if TYPE_CHECKING:
    from batchup.typed_files.typed_file import TypedFile

Transforms = Sequence[Callable[[Any], Any]]


class Feature:
    """One kind of data in a `TypedFile`: how it is loaded from a source, how it is stored, what can be done with it.

    Subclasses define ``load(source)``, which returns an array, or a dict of arrays (which becomes a group). On a file,
    the attribute is a `Proxy`, which has the feature's own methods and attributes, too.

    Attributes
    ----------
    __re__ : str
        Regular expression; only sources in which it is found are given to `load`. All of them by default.
    __ds_kwargs__ : dict
        Of `h5py.Group.create_dataset`: ``compression``, ``chunks``, ``dtype`` ...; for a feature that is a group, a
        dict of such dicts. It is copied, never changed.
    __t__ : sequence of callable
        What arrays go through when they are read, one behind the other.
    __grp_t__ : sequence of callable
        What the dict of a group goes through when it is read by id.
    derived_from : str
        If a subclass has it, the name of a feature declared before it: `load` is given what that one has loaded, in
        place of the source.

    Examples
    --------
    >>> from batchup import typed_files as h5m
    >>> class Squares(h5m.Feature):
    ...     __re__ = r"^[0-9]+$"
    ...     __ds_kwargs__ = dict(compression="gzip")
    ...     def load(self, source):
    ...         return np.arange(int(source)) ** 2
    >>> class Numbers(h5m.TypedFile):
    ...     squares = Squares()
    >>> file = Numbers.create("numbers.h5", ["3", "5"], parallelism="none")
    >>> file.squares.get("5"), file.squares[:4]
    (array([ 0,  1,  4,  9, 16]), array([0, 1, 4, 0]))
    """

    __re__: str = r".*"
    __ds_kwargs__: ClassVar[Mapping[str, Any]] = {}
    __t__: Transforms = ()
    __grp_t__: Transforms = ()

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    def __get__(self, file: TypedFile | None, owner: type | None = None) -> Any:
        return self if file is None else file.get_proxy(self.name)

    def __set__(self, file: TypedFile, value: Any) -> None:
        raise InvalidTypeError(
            f"{self.name} is a feature: write to it with {self.name}[...] = values, set(source, data) or "
            "add(source, data)"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'name', 'without a name')!r}>"

    @property
    def attrs(self) -> Mapping[str, Any]:
        """What is written to the attributes of the feature's group."""
        return {}

    def load(self, source: Any) -> Any:
        """Return what is to be stored of a source: an array, a dict of arrays, or None for nothing."""
        raise NotImplementedError(f"{type(self).__name__} has no load(source)")

    def stored(self, data: Any) -> Any:
        """Return data that are added to a file, as they are stored: an array, or a dict of arrays."""
        return data

    def prepared(self, sources: Sequence[str], attrs: Mapping[str, Any]) -> Feature:
        """Return the feature that loads: itself, unless loading one source depends on what the others are.

        Parameters
        ----------
        sources : sequence of str
            All that will be loaded, before the first one is.
        attrs : mapping
            The attributes of the feature in the file that they are added to.
        """
        return self

    def after_create(self, db: TypedFile, feature_key: str) -> None:
        """Do what is to be done once all sources are loaded; called by `TypedFile.create`.

        Parameters
        ----------
        db : TypedFile
            The file, open for writing.
        feature_key : str
            The name of the feature in it.
        """

    @property
    def loads(self) -> bool:
        """Whether there is a `load` of its own."""
        return type(self).load is not Feature.load


class Array(Feature):
    """Arrays that are added; nothing is loaded from sources.

    Parameters
    ----------
    pattern : str, optional
        In place of `__re__`, for a subclass that loads.
    **ds_kwargs
        In place of `__ds_kwargs__`.
    """

    def __init__(self, pattern: str | None = None, **ds_kwargs: Any) -> None:
        if pattern is not None:
            self.__re__ = pattern
        if ds_kwargs:
            self.__ds_kwargs__ = {**type(self).__ds_kwargs__, **ds_kwargs}  # type: ignore[misc]


class Group(Feature):
    """Features under a common name.

    Parameters
    ----------
    **features
        The features; groups, too.
    """

    def __init__(self, **features: Feature) -> None:
        self.features = checked_schema(features)

    def __getattr__(self, name: str) -> Any:
        features = self.__dict__.get("features", {})
        if name not in features:
            raise AttributeError(f"the group has no feature {name!r}, but {', '.join(features) or 'none at all'}")
        return features[name]

    def prepared(self, sources: Sequence[str], attrs: Mapping[str, Any]) -> Group:
        raise InvalidTypeError("the features of a group are prepared one by one")


def checked_schema(schema: Any) -> dict[str, Feature]:
    """Return features by name; an error if something else is among them.

    Raises
    ------
    InvalidTypeError
        If it is no dict of features.
    """
    if not isinstance(schema, Mapping):
        raise InvalidTypeError(f"a schema is a dict of features, got {type(schema).__name__}")
    found = {}
    for name, feature in schema.items():
        if not isinstance(feature, Feature):
            raise InvalidTypeError(f"{name!r} must be a Feature (Array, Image, Group ...), got {feature!r}")
        if "/" in checked_name(name):
            raise InvalidTypeError(f"a feature cannot be called {name!r}: Group(...) makes features of features")
        found[name] = copy.copy(feature)  # the same one may be declared elsewhere, under another name
        found[name].__set_name__(None, name)
    return found


def class_schema(cls: type) -> dict[str, Feature]:
    """Return the features that a class declares, those of its bases first."""
    found: dict[str, Feature] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            found.pop(name, None)
            if isinstance(value, Feature):
                found[name] = value
    return found


def leaves(schema: Mapping[str, Feature], prefix: str = "") -> Iterator[tuple[str, Feature]]:
    """Yield the features that are not groups, with their paths."""
    for name, feature in schema.items():
        if isinstance(feature, Group):
            yield from leaves(feature.features, f"{prefix}{name}/")
        else:
            yield prefix + name, feature


def as_stored(schema: Mapping[str, Feature], data: Any, path: str = "") -> Any:
    """Return data, or a dict of them, as the features that they belong to store them."""
    feature, place = feature_at(schema, path) if path else (None, "")
    if feature is not None and place == path and not isinstance(feature, Group):
        return None if data is None else feature.stored(data)
    if not isinstance(data, Mapping) or (feature is not None and place != path):
        return data
    return {name: as_stored(schema, part, f"{path}/{name}".lstrip("/")) for name, part in data.items()}


def feature_at(schema: Mapping[str, Feature], path: str) -> tuple[Feature | None, str]:
    """Return the feature that something in a file belongs to, and the path of that feature."""
    first, *others = path.split("/")
    feature, place = schema.get(first), first
    for name in others:
        if not isinstance(feature, Group) or name not in feature.features:
            break
        feature, place = feature.features[name], f"{place}/{name}"
    return feature, place


def ds_kwargs(schema: Mapping[str, Feature], path: str) -> dict[str, Any]:
    """Return what `create_dataset` is to be given for a path, by the feature that it belongs to."""
    feature, place = feature_at(schema, path)
    if feature is None:
        return {}
    found: Any = feature.__ds_kwargs__
    for name in path[len(place) + 1 :].split("/") if path != place else ():
        inner = found.get(name) if isinstance(found, Mapping) else None
        found = inner if isinstance(inner, Mapping) else found
    return {key: value for key, value in found.items() if not isinstance(value, Mapping)}
