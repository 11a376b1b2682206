"""Which number stands for which symbol: collected from a corpus, kept as JSON, applied to sentences."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import chain, pairwise, repeat
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from batchup._indices import integer_array
from batchup._numbers import whole_number
from batchup._repr import Represented
from batchup.columns.ragged import Ragged
from batchup.errors import IndexRangeError, InvalidTypeError, InvalidValueError, StateError

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"
NUM_SPECIAL = 3
_DROPPED = -1


class Vocabulary(Represented):
    """Symbols, each with the number that stands for it: its place.

    Three of them are special, and are the first three, in any order: `pad` fills up batches, `eos` ends a sequence,
    and `unk` stands for whatever the vocabulary does not know.

    Parameters
    ----------
    symbols : iterable of str
        All different.
    pad_id, eos_id, unk_id : int, optional
        The places of the special symbols: 0, 1 and 2, in any order. By default, where ``'<pad>'``, ``'</s>'`` and
        ``'<unk>'`` are.

    Attributes
    ----------
    idx2symbol : list of str
        The symbols. Leave it as it is, and `symbol2idx` too.
    symbol2idx : dict of str to int
        Their places.
    pad_id, eos_id, unk_id : int
        Those of the special symbols.
    num_special : int
        How many symbols are special: 3.

    Raises
    ------
    InvalidTypeError
        If a symbol is not a str, or an id not an int.
    InvalidValueError
        If a symbol comes twice, or a special one is missing, not among the first three, or two things at once.

    Examples
    --------
    >>> vocab = Vocabulary(["<pad>", "</s>", "<unk>", "the", "cat", "sat"])
    >>> vocab.encode(["the", "cat", "purred"])
    [3, 4, 1]
    >>> vocab.encode(["the", "cat", "purred"], use_unk=True)
    [3, 4, 2, 1]
    >>> vocab.decode([3, 4, 1], muted_ids={vocab.eos_id})
    ['the', 'cat']
    >>> Vocabulary.from_json(vocab.to_json()) == vocab
    True
    """

    num_special = NUM_SPECIAL
    _kept_as: ClassVar = {"symbols": "idx2symbol"}

    def __init__(
        self,
        symbols: Iterable[str],
        pad_id: int | None = None,
        eos_id: int | None = None,
        unk_id: int | None = None,
    ) -> None:
        self.idx2symbol = _checked_symbols(symbols)
        self.symbol2idx = {symbol: place for place, symbol in enumerate(self.idx2symbol)}
        if len(self.symbol2idx) < len(self.idx2symbol):
            symbol, count = Counter(self.idx2symbol).most_common(1)[0]
            raise InvalidValueError(f"symbols must differ, got {symbol!r} {count} times")
        self.pad_id = self._special(pad_id, "pad_id", PAD)
        self.eos_id = self._special(eos_id, "eos_id", EOS)
        self.unk_id = self._special(unk_id, "unk_id", UNK)
        if len({self.pad_id, self.eos_id, self.unk_id}) < NUM_SPECIAL:
            raise InvalidValueError(
                f"pad_id, eos_id and unk_id must differ, got {self.pad_id}, {self.eos_id} and {self.unk_id}"
            )

    def _special(self, given: int | None, what: str, default: str) -> int:
        if given is None and default not in self.symbol2idx:
            raise InvalidValueError(
                f"symbols must have {default!r} among the first three, or {what} say what is instead"
            )
        place = self.symbol2idx[default] if given is None else whole_number(given, what)
        if place >= min(NUM_SPECIAL, len(self.idx2symbol)):
            meant = f", the place of {default!r}" if given is None else f" of {len(self.idx2symbol)} symbols"
            raise InvalidValueError(f"{what} must be the place of one of the first three symbols, got {place}{meant}")
        return place

    def __len__(self) -> int:
        return len(self.idx2symbol)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self.symbol2idx

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self.state_dict() == other.state_dict()

    __hash__ = None  # type: ignore[assignment]

    def encode(self, tokens: Iterable[str], use_unk: bool = False, add_eos: bool = True) -> list[int]:
        """Return the ids of tokens.

        Parameters
        ----------
        tokens : iterable of str
            A str is taken as its characters.
        use_unk : bool, default False
            Whether `unk_id` takes the place of a token that is not in the vocabulary. If not, it is dropped.
        add_eos : bool, default True
            Whether `eos_id` is put behind the last one.
        """
        if use_unk:
            ids = list(map(self.symbol2idx.get, tokens, repeat(self.unk_id)))
        else:
            ids = [found for found in map(self.symbol2idx.get, tokens) if found is not None]
        if add_eos:
            ids.append(self.eos_id)
        return ids

    def decode(self, ids: Iterable[int], muted_ids: Iterable[int] | None = None) -> list[str]:
        """Return the symbols that ids stand for.

        Parameters
        ----------
        ids : iterable of int
            Also an array, of one dimension.
        muted_ids : iterable of int, optional
            Ids that give nothing. They need not be in the vocabulary.

        Raises
        ------
        IndexRangeError
            If an id is negative, or not less than the number of symbols.
        """
        numbers = _integers(ids).tolist() if hasattr(ids, "__array__") else list(ids)
        if muted_ids is not None:
            muted = set(muted_ids)
            numbers = [number for number in numbers if number not in muted]
        with suppress(IndexError, TypeError):
            if not numbers or min(numbers) >= 0:
                return list(map(self.idx2symbol.__getitem__, numbers))
        return self._symbols(_integers(numbers))  # which says what is wrong

    def encode_corpus(
        self,
        sentences: Iterable[Iterable[str]],
        use_unk: bool = False,
        add_eos: bool = True,
        dtype: DTypeLike = np.int32,
    ) -> Ragged:
        """Return the ids of many sentences, in one array: those that `encode` gives for each.

        Parameters
        ----------
        sentences : iterable of iterables of str
            The tokens of each. They are read once, one after the other.
        use_unk, add_eos : bool
            As for `encode`.
        dtype : dtype, default int32
            An integer type that can hold the highest id.

        Examples
        --------
        >>> vocab = Vocabulary(["<pad>", "</s>", "<unk>", "the", "cat", "sat"])
        >>> corpus = vocab.encode_corpus(line.split() for line in ["the cat", "", "the cat sat"])
        >>> corpus.values
        array([3, 4, 1, 1, 3, 4, 5, 1], dtype=int32)
        >>> corpus.lengths
        array([3, 1, 4])
        """
        if isinstance(sentences, str):
            raise InvalidTypeError("sentences must be lists of tokens, got a str; `encode` takes a single sentence")
        holder = self._checked_dtype(dtype)
        lengths = array("q")
        tokens = chain.from_iterable(map(_noting(lengths), sentences))
        unknown = self.unk_id if use_unk else _DROPPED
        ids: NDArray[Any] = np.fromiter(map(self.symbol2idx.get, tokens, repeat(unknown)), np.int32)
        offsets = _offsets(lengths)
        if not use_unk:
            ids, offsets = _only(ids >= 0, ids, offsets)
        if add_eos:
            ids = np.insert(ids, offsets[1:], self.eos_id)
            offsets += np.arange(len(offsets))
        return Ragged(ids.astype(holder, copy=False), offsets)

    def decode_corpus(
        self, ragged: Ragged | Iterable[Iterable[int]], muted_ids: Iterable[int] | None = None
    ) -> list[list[str]]:
        """Return the symbols of many sequences: what `decode` gives for each.

        Parameters
        ----------
        ragged : Ragged or iterable of integer arrays
            For instance what `encode_corpus` gives, or a padded batch.
        muted_ids : iterable of int, optional
            Ids that give nothing.

        Examples
        --------
        >>> vocab = Vocabulary(["<pad>", "</s>", "<unk>", "the", "cat", "sat"])
        >>> vocab.decode_corpus(np.array([[3, 4, 5, 1], [4, 1, 0, 0]]), muted_ids=[vocab.pad_id, vocab.eos_id])
        [['the', 'cat', 'sat'], ['cat']]
        """
        ids, offsets = _flat(ragged)
        if muted_ids is not None:
            ids, offsets = _only(_heard(ids, muted_ids), ids, offsets)
        symbols = self._symbols(ids)
        return [symbols[start:stop] for start, stop in pairwise(offsets.tolist())]

    def state_dict(self) -> dict[str, Any]:
        """Return what `from_state_dict` needs, made of what JSON can hold."""
        return {
            "pad_id": self.pad_id,
            "eos_id": self.eos_id,
            "unk_id": self.unk_id,
            "symbols": list(self.idx2symbol),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Vocabulary:
        """Return the vocabulary that had this state.

        Raises
        ------
        StateError
            An `InvalidValueError`: if something is missing, or is not what it should be.
        """
        if not isinstance(state, Mapping):
            raise StateError(f"the state of a vocabulary must be a dict, got {type(state).__name__}")
        missing = [key for key in ("pad_id", "eos_id", "unk_id", "symbols") if state.get(key) is None]
        if missing:
            raise StateError(f"the state of a vocabulary must have {', '.join(missing)} too, got {list(state)}")
        try:
            return cls(state["symbols"], state["pad_id"], state["eos_id"], state["unk_id"])
        except (TypeError, ValueError) as error:
            raise StateError(f"the state of a vocabulary is damaged: {error}") from error

    def to_json(self, indent: int | None = None) -> str:
        """Return the vocabulary as JSON, in which no symbol is escaped that need not be: write it as UTF-8."""
        return json.dumps(self.state_dict(), indent=indent, ensure_ascii=False)

    @classmethod
    def from_json(cls, json_string: str) -> Vocabulary:
        """Return the vocabulary that `to_json` made a string of.

        Raises
        ------
        StateError
            An `InvalidValueError`: if it is not such a string.
        """
        try:
            state = json.loads(json_string)
        except ValueError as error:
            raise StateError(f"a vocabulary must be JSON, got something else: {error}") from error
        return cls.from_state_dict(state)

    def _symbols(self, ids: NDArray[np.intp]) -> list[str]:
        if len(ids):
            for found in (int(ids.min()), int(ids.max())):
                if not 0 <= found < len(self):
                    raise IndexRangeError(f"id {found} is out of range for a vocabulary of {len(self)} symbols")
        if len(ids) < len(self):
            return list(map(self.idx2symbol.__getitem__, ids.tolist()))
        symbols: list[str] = np.array(self.idx2symbol, object)[ids].tolist()
        return symbols

    def _checked_dtype(self, dtype: DTypeLike) -> np.dtype[Any]:
        holder = np.dtype(dtype)
        if holder.kind not in "iu":
            raise InvalidTypeError(f"dtype must be an integer type, got {holder}")
        if np.iinfo(holder).max < len(self) - 1:
            raise InvalidValueError(f"dtype must hold ids up to {len(self) - 1}, got {holder}")
        return holder


def _checked_symbols(symbols: Iterable[str]) -> list[str]:
    if isinstance(symbols, str):
        raise InvalidTypeError(f"symbols must be a list of str, got the str {symbols[:40]!r}")
    listed = list(symbols)
    for place, symbol in enumerate(listed):
        if not isinstance(symbol, str):
            raise InvalidTypeError(f"symbols must be str, got {symbol!r} at place {place}")
    return listed


def _integers(ids: Any) -> NDArray[np.intp]:
    return integer_array(ids if hasattr(ids, "__len__") else list(ids), "ids")


def _heard(ids: NDArray[np.intp], muted_ids: Iterable[int]) -> NDArray[np.bool_]:
    """Return which ids are not muted."""
    return np.isin(ids, integer_array(list(muted_ids), "muted_ids"), invert=True)


def _noting(lengths: array[int]) -> Callable[[Iterable[str]], Iterable[str]]:
    """Return a function that passes sentences on, and appends their lengths."""

    def noted(sentence: Any) -> Any:
        tokens = sentence if hasattr(sentence, "__len__") else list(sentence)
        lengths.append(len(tokens))
        return tokens

    return noted


def _offsets(lengths: Any) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(np.asarray(lengths, np.int64), out=offsets[1:])
    return offsets


def _only(
    kept: NDArray[np.bool_], values: NDArray[Any], offsets: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the values to keep, and where their sequences begin now."""
    return values[kept], _offsets(kept)[offsets]


def _flat(ragged: Any) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the ids of all sequences, and the offsets."""
    if isinstance(ragged, Ragged):
        return _integers(ragged.values), ragged.offsets
    rows = [_integers(row) for row in ragged]
    return np.concatenate([np.empty(0, np.intp), *rows]), _offsets([len(row) for row in rows])
