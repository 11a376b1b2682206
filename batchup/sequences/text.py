"""From text to arrays and back: the contract, and the codec that a vocabulary gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._repr import Represented
from batchup.errors import InvalidTypeError
from batchup.sequences.vocabulary import Vocabulary


class TextCodec(ABC):
    """Make an array of a sentence, and a sentence of an array.

    A subclass writes four steps. `tokenize` and `encode` lead from text to an array whose first axis runs over the
    tokens: ids, or a vector for each. `decode` and `detokenize` lead back. What is lost on the way (spaces, unknown
    tokens) is the subclass's affair. A codec that worker processes use must be picklable.

    Examples
    --------
    >>> class Letters(TextCodec):
    ...     def tokenize(self, sentence):
    ...         return list(sentence)
    ...
    ...     def encode(self, tokens):
    ...         return np.array([ord(token) for token in tokens], np.uint32)
    ...
    ...     def decode(self, encoded):
    ...         return [chr(number) for number in encoded]
    ...
    ...     def detokenize(self, tokens):
    ...         return "".join(tokens)
    >>> Letters().encode_text("cat")
    array([ 99,  97, 116], dtype=uint32)
    >>> Letters().decode_text([99, 97, 116])
    'cat'
    """

    @abstractmethod
    def tokenize(self, sentence: str) -> list[str]:
        """Return the tokens of a sentence."""

    @abstractmethod
    def encode(self, tokens: Iterable[str]) -> NDArray[Any]:
        """Return the array that stands for tokens."""

    @abstractmethod
    def decode(self, encoded: Any) -> list[str]:
        """Return the tokens that an array stands for."""

    @abstractmethod
    def detokenize(self, tokens: list[str]) -> str:
        """Return the sentence that is made of tokens."""

    def encode_text(self, sentence: str) -> NDArray[Any]:
        """Return the array that stands for a sentence."""
        return self.encode(self.tokenize(sentence))

    def decode_text(self, encoded: Any) -> str:
        """Return the sentence that an array stands for."""
        return self.detokenize(self.decode(encoded))


def vocab_to_codec(
    vocab: Vocabulary,
    tokenize: Callable[[str], list[str]],
    detokenize: Callable[[list[str]], str],
    use_unk: bool = False,
    add_eos: bool = True,
) -> TextCodec:
    """Return the codec that gives int32 ids of a vocabulary.

    Parameters
    ----------
    vocab : Vocabulary
        What makes ids of tokens. In decoding, no id is muted: the special symbols come out too.
    tokenize, detokenize : callable
        What makes tokens of a sentence, and a sentence of tokens: ``str.split`` and ``" ".join``, say. The codec can
        be pickled if they can.
    use_unk, add_eos : bool
        As for `Vocabulary.encode`.

    Examples
    --------
    >>> vocab = Vocabulary(["<pad>", "</s>", "<unk>", "the", "cat", "sat"])
    >>> codec = vocab_to_codec(vocab, str.split, " ".join)
    >>> codec.encode_text("the cat sat")
    array([3, 4, 5, 1], dtype=int32)
    >>> codec.decode_text([3, 4, 5, 1])
    'the cat sat </s>'
    """
    if not isinstance(vocab, Vocabulary):
        raise InvalidTypeError(f"vocab must be a Vocabulary, got {type(vocab).__name__}")
    for what, function in (("tokenize", tokenize), ("detokenize", detokenize)):
        if not callable(function):
            raise InvalidTypeError(f"{what} must be a function, got {function!r}")
    return _VocabularyCodec(vocab, tokenize, detokenize, use_unk, add_eos)


class _VocabularyCodec(TextCodec, Represented):
    _kept_as = {"tokenize": "_tokenize", "detokenize": "_detokenize"}  # noqa: RUF012

    def __init__(
        self,
        vocab: Vocabulary,
        tokenize: Callable[[str], list[str]],
        detokenize: Callable[[list[str]], str],
        use_unk: bool,
        add_eos: bool,
    ) -> None:
        self.vocab = vocab
        self._tokenize = tokenize
        self._detokenize = detokenize
        self.use_unk = use_unk
        self.add_eos = add_eos

    def tokenize(self, sentence: str) -> list[str]:
        return self._tokenize(sentence)

    def encode(self, tokens: Iterable[str]) -> NDArray[Any]:
        return np.array(self.vocab.encode(tokens, self.use_unk, self.add_eos), np.int32)

    def decode(self, encoded: Any) -> list[str]:
        return self.vocab.decode(encoded)

    def detokenize(self, tokens: list[str]) -> str:
        return self._detokenize(tokens)
