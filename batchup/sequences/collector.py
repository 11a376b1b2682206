"""Counts the symbols of a corpus, to make a vocabulary of the most frequent ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sequences.vocabulary import EOS, NUM_SPECIAL, PAD, UNK, Vocabulary


class VocabularyCollector:
    """Count symbols, and make a vocabulary of the most frequent ones.

    Attributes
    ----------
    symbol_count : Counter of str
        How often each has come.

    Examples
    --------
    >>> collector = VocabularyCollector()
    >>> for line in ["the cat sat", "the cat purred", "the dog sat"]:
    ...     collector.add_symbols(line.split())
    >>> collector.consolidate(max_num_symbols=6).idx2symbol
    ['<pad>', '</s>', '<unk>', 'the', 'cat', 'sat']
    """

    def __init__(self) -> None:
        self.symbol_count: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.symbol_count)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} symbols>"

    def add_symbol(self, symbol: str) -> None:
        """Count a symbol once more."""
        if not isinstance(symbol, str):
            raise InvalidTypeError(f"a symbol must be a str, got {symbol!r}")
        self.symbol_count[symbol] += 1

    def add_symbols(self, symbols: Iterable[str] | Mapping[str, int]) -> None:
        """Count many symbols, much faster than one by one.

        Parameters
        ----------
        symbols : iterable of str, or mapping of str to int
            A mapping holds counts, such as the `symbol_count` of another collector. A str is taken as its characters.
        """
        self.symbol_count.update(symbols)

    def consolidate(
        self,
        max_num_symbols: int | None = None,
        unk_symbol: str = UNK,
        pad_symbol: str = PAD,
        eos_symbol: str = EOS,
        sorting_key: Callable[[str], Any] | None = None,
    ) -> Vocabulary:
        """Return a vocabulary: pad, eos, unk, and then the most frequent symbols.

        Parameters
        ----------
        max_num_symbols : int, optional
            How many symbols it may have, with the three special ones. By default, it takes all.
        unk_symbol, pad_symbol, eos_symbol : str
            What the special symbols are called.
        sorting_key : callable, optional
            Order of the symbols that were taken, as for `sorted`. By default, the most frequent comes first, and of
            equally frequent ones that which was counted first.

        Raises
        ------
        InvalidValueError
            If a special symbol was collected too, or two are the same.
        """
        if max_num_symbols is not None:
            max_num_symbols = whole_number(max_num_symbols, "max_num_symbols", NUM_SPECIAL) - NUM_SPECIAL
        special = {"pad_symbol": pad_symbol, "eos_symbol": eos_symbol, "unk_symbol": unk_symbol}
        if len(set(special.values())) < NUM_SPECIAL:
            raise InvalidValueError(f"pad_symbol, eos_symbol and unk_symbol must differ, got {[*special.values()]}")
        for what, symbol in special.items():
            if symbol in self.symbol_count:
                raise InvalidValueError(
                    f"{what} must not be a symbol of the corpus, where {symbol!r} was collected "
                    f"{self.symbol_count[symbol]} times: give another one, or leave that out"
                )
        symbols = [symbol for symbol, _ in self.symbol_count.most_common(max_num_symbols)]
        if sorting_key is not None:
            symbols.sort(key=sorting_key)
        return Vocabulary([*special.values(), *symbols], pad_id=0, eos_id=1, unk_id=2)
