"""Vocabularies and codecs: what is encoded comes back, a corpus is what its sentences are, and errors say what came."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup.columns.ragged import Ragged
from batchup.errors import BatchUpError, IndexRangeError, InvalidTypeError, InvalidValueError
from batchup.sequences import Vocabulary, VocabularyCollector
from batchup.sequences.text import TextCodec, vocab_to_codec

SPECIAL = ["<pad>", "</s>", "<unk>"]
WORDS = ["the", "cat", "sat"]
VOCAB = Vocabulary([*SPECIAL, *WORDS])

symbols = st.lists(st.text(max_size=5).filter(lambda s: s not in SPECIAL), unique=True, max_size=12)
places = st.permutations([0, 1, 2])


@st.composite
def vocabularies(draw: st.DrawFn) -> Vocabulary:
    """Draw a vocabulary with the special symbols in any order."""
    first = draw(places)
    return Vocabulary([SPECIAL[i] for i in first] + draw(symbols))


@st.composite
def corpora(draw: st.DrawFn) -> tuple[Vocabulary, list[list[str]]]:
    """Draw a vocabulary, and sentences of tokens that it knows or not."""
    vocab = draw(vocabularies())
    tokens = st.sampled_from(vocab.idx2symbol) | st.text(max_size=2)
    return vocab, draw(st.lists(st.lists(tokens, max_size=6), max_size=8))


@given(vocabularies(), st.data(), st.booleans())
def test_known_tokens_come_back(vocab: Vocabulary, data: st.DataObject, use_unk: bool) -> None:
    """Known tokens are what they were after `encode` and `decode`, with eos behind them if it is asked for."""
    tokens = data.draw(st.lists(st.sampled_from(vocab.idx2symbol)))
    assert vocab.decode(vocab.encode(tokens, use_unk, add_eos=False)) == tokens
    assert vocab.decode(vocab.encode(tokens, use_unk)) == [*tokens, "</s>"]


@given(corpora(), st.booleans(), st.booleans(), st.sampled_from(["i1", "i4", "u2", "<i8", ">i4"]))
def test_a_corpus_is_its_sentences(
    corpus: tuple[Vocabulary, list[list[str]]], use_unk: bool, add_eos: bool, dtype: str
) -> None:
    """`encode_corpus` and `decode_corpus` give what `encode` and `decode` give one by one."""
    vocab, sentences = corpus
    ragged = vocab.encode_corpus((iter(s) for s in sentences), use_unk, add_eos, dtype)
    assert ragged.values.dtype == np.dtype(dtype)
    assert [ids.tolist() for ids in ragged] == [vocab.encode(s, use_unk, add_eos) for s in sentences]
    silenced: list[set[int] | None] = [None, set(), {vocab.unk_id, vocab.eos_id, -7, 999}]
    for muted in silenced:
        decoded = [vocab.decode(ids, muted) for ids in ragged]
        assert vocab.decode_corpus(ragged, muted) == decoded
        assert vocab.decode_corpus(iter(list(ragged)), muted) == decoded
        assert vocab.decode_corpus([ids.tolist() for ids in ragged], muted) == decoded


@given(vocabularies(), st.sampled_from([None, 0, 2]))
def test_json_and_states(vocab: Vocabulary, indent: int | None) -> None:
    """A vocabulary is the same after JSON, a state, or a pickle; JSON escapes nothing that need not be."""
    text = vocab.to_json(indent)
    for again in (
        Vocabulary.from_json(text),
        Vocabulary.from_state_dict(vocab.state_dict()),
        pickle.loads(pickle.dumps(vocab)),
    ):
        assert again == vocab
        assert (again.idx2symbol, again.pad_id, again.eos_id, again.unk_id) == (
            vocab.idx2symbol,
            vocab.pad_id,
            vocab.eos_id,
            vocab.unk_id,
        )
    assert json.loads(text) == vocab.state_dict()
    assert "é漢" in Vocabulary([*SPECIAL, "é漢"]).to_json()


def test_a_state_of_seqp() -> None:
    """JSON that seqp 0.1 wrote is read; what is written has the same keys."""
    written = '{"pad_id": 0, "eos_id": 2, "unk_id": 1, "symbols": ["P", "U", "E", "a", "\\u00e9"]}'
    vocab = Vocabulary.from_json(written)
    assert vocab.encode("aéx", use_unk=True) == [3, 4, 1, 2]
    assert list(vocab.state_dict()) == ["pad_id", "eos_id", "unk_id", "symbols"]
    assert vocab.to_json() == written.replace("\\u00e9", "é")


def test_attributes() -> None:
    """The mappings, the special ids, `len` and `in` are what the symbols say."""
    assert VOCAB.idx2symbol == [*SPECIAL, *WORDS]
    assert VOCAB.symbol2idx == {"<pad>": 0, "</s>": 1, "<unk>": 2, "the": 3, "cat": 4, "sat": 5}
    assert (VOCAB.pad_id, VOCAB.eos_id, VOCAB.unk_id, VOCAB.num_special, len(VOCAB)) == (0, 1, 2, 3, 6)
    assert "cat" in VOCAB
    assert "dog" not in VOCAB
    assert 4 not in VOCAB


def test_equality() -> None:
    """Vocabularies differ if a symbol, an order or a special id does; they cannot be keys."""
    assert Vocabulary(["a", "b", "c"], 0, 1, 2) == Vocabulary(("a", "b", "c"), np.int64(0), 1, 2)
    assert Vocabulary(["a", "b", "c"], 0, 1, 2) != Vocabulary(["a", "b", "c"], 0, 2, 1)
    assert Vocabulary([*SPECIAL, *reversed(WORDS)]) != VOCAB
    assert VOCAB.idx2symbol != VOCAB
    with pytest.raises(TypeError, match="unhashable"):
        hash(VOCAB)


def test_a_state_is_a_copy() -> None:
    """Who changes a state, or the list that a vocabulary was made of, does not change the vocabulary."""
    given_symbols = [*SPECIAL, *WORDS]
    vocab = Vocabulary(given_symbols)
    vocab.state_dict()["symbols"].append("dog")
    given_symbols.clear()
    assert vocab == VOCAB


def test_repr_is_short() -> None:
    """A small vocabulary shows how it is rebuilt, a large one how large it is."""
    assert eval(repr(VOCAB)) == VOCAB
    many = Vocabulary([*SPECIAL, *map(str, range(1000))])
    assert repr(many) == "Vocabulary(symbols=<list of 1003>, pad_id=0, eos_id=1, unk_id=2)"


def test_unknown_tokens() -> None:
    """Tokens that are not in the vocabulary are dropped, or stand as unk."""
    assert VOCAB.encode(["the", "dog", "sat"]) == [3, 5, 1]
    assert VOCAB.encode(["the", "dog", "sat"], use_unk=True, add_eos=False) == [3, 2, 5]
    assert VOCAB.encode([]) == [1]


@pytest.mark.parametrize(
    "ids",
    [
        [3, 4, 1],
        (3, 4, 1),
        np.array([3, 4, 1], np.uint8),
        np.array([1, 4, 3])[::-1],
        iter([3, 4, 1]),
        [np.int8(3), 4, np.uint64(1)],
    ],
    ids=["list", "tuple", "array", "view", "iterator", "scalars"],
)
def test_what_ids_may_be(ids: Any) -> None:
    """Ids may be any iterable of integers."""
    assert VOCAB.decode(ids, muted_ids=(n for n in [1])) == ["the", "cat"]


def test_muted_ids_need_no_symbol() -> None:
    """What is muted may be out of range: -1 and -100 are used to fill up labels."""
    assert VOCAB.decode([3, -100, -1, 99], muted_ids={-100, -1, 99}) == ["the"]


MADE: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no symbols": ({"symbols": []}, InvalidValueError, "'<pad>'.*pad_id"),
    "no eos": ({"symbols": ["<pad>", "<unk>", "a"]}, InvalidValueError, "'</s>'.*eos_id"),
    "two symbols": (
        {"symbols": ["a", "b"], "pad_id": 0, "eos_id": 1, "unk_id": 2},
        InvalidValueError,
        "2 of 2 symbols",
    ),
    "late unk": ({"symbols": ["<pad>", "</s>", "a", "<unk>"]}, InvalidValueError, "unk_id.*first three.*3.*'<unk>'"),
    "late id": ({"symbols": [*SPECIAL, "a"], "pad_id": 3}, InvalidValueError, "pad_id.*first three.*got 3"),
    "negative id": ({"symbols": SPECIAL, "pad_id": -1}, InvalidValueError, "pad_id.*-1"),
    "fractional id": ({"symbols": SPECIAL, "eos_id": 1.5}, InvalidValueError, "eos_id.*1.5"),
    "id of text": ({"symbols": SPECIAL, "eos_id": "1"}, InvalidTypeError, "eos_id.*'1'"),
    "boolean id": ({"symbols": SPECIAL, "eos_id": True}, InvalidTypeError, "eos_id.*True"),
    "same ids": ({"symbols": SPECIAL, "eos_id": 0}, InvalidValueError, "differ, got 0, 0 and 2"),
    "twice": ({"symbols": [*SPECIAL, "a", "b", "b", "b"]}, InvalidValueError, "differ, got 'b' 3 times"),
    "numbers": ({"symbols": [*SPECIAL, "a", 5]}, InvalidTypeError, "str, got 5 at place 4"),
    "bytes": ({"symbols": [*SPECIAL, b"a"]}, InvalidTypeError, "str, got b'a' at place 3"),
    "one text": ({"symbols": "abc"}, InvalidTypeError, "list of str, got the str 'abc'"),
}


@pytest.mark.parametrize("name", MADE)
def test_vocabularies_that_cannot_be(name: str) -> None:
    """Symbols and ids that make no vocabulary are refused, and what came is named."""
    arguments, kind, said = MADE[name]
    with pytest.raises(kind, match=said) as caught:
        Vocabulary(**arguments)
    assert isinstance(caught.value, BatchUpError)


DECODED: dict[str, tuple[Any, type[Exception], str]] = {
    "negative": ([3, -1], IndexRangeError, "id -1 .* 6 symbols"),
    "behind the end": (np.array([3, 6]), IndexRangeError, "id 6 .* 6 symbols"),
    "fractions": ([3.0], InvalidTypeError, "float64"),
    "huge": ([2**63], IndexRangeError, str(2**63)),
    "tokens": (["the"], InvalidTypeError, "ids must be integers"),
    "a mask": (np.ones(3, bool), InvalidTypeError, "bool"),
    "two dimensions": (np.zeros((2, 2), int), InvalidValueError, r"\(2, 2\)"),
}


@pytest.mark.parametrize("name", DECODED)
def test_ids_that_cannot_be_decoded(name: str) -> None:
    """An id without a symbol is named, and what holds no ids is refused, in a corpus too."""
    ids, kind, said = DECODED[name]
    with pytest.raises(kind, match=said):
        VOCAB.decode(ids)
    for first in ([3, 4], [3, 4] * 5):
        with pytest.raises(kind, match=said):
            VOCAB.decode_corpus([first, ids])


def test_a_corpus_that_cannot_be_encoded() -> None:
    """A single text, and a dtype that holds no ids or too few of them, are refused before a sentence is read."""
    many = Vocabulary([*SPECIAL, *map(str, range(126))])
    unread: Any = iter(lambda: pytest.fail("it was read"), None)
    with pytest.raises(InvalidTypeError, match=r"got a str.*`encode`"):
        VOCAB.encode_corpus("the cat sat")
    with pytest.raises(InvalidValueError, match="ids up to 128, got int8"):
        many.encode_corpus(unread, dtype=np.int8)
    with pytest.raises(InvalidTypeError, match="integer type, got float32"):
        VOCAB.encode_corpus(unread, dtype=np.float32)
    assert many.encode_corpus([["125"]], dtype=np.uint8).values.tolist() == [128, 1]
    assert Vocabulary(many.idx2symbol[:-1]).encode_corpus([["124"]], dtype=np.int8).values.tolist() == [127, 1]


def test_empty_corpora() -> None:
    """A corpus may have no sentence, and sentences no token."""
    for add_eos in (True, False):
        none = VOCAB.encode_corpus([], add_eos=add_eos)
        assert len(none) == len(none.values) == 0
        assert none.values.dtype == np.int32
        assert VOCAB.decode_corpus(none) == VOCAB.decode_corpus([]) == []
    blank = VOCAB.encode_corpus([[], []], add_eos=False)
    assert blank.offsets.tolist() == [0, 0, 0]
    assert VOCAB.decode_corpus(blank) == [[], []]


def test_a_part_of_a_corpus() -> None:
    """Sequences that lie somewhere in a larger array are decoded alone."""
    part = Ragged(np.array([99, 3, 4, 5, -1]), [1, 3, 4])
    assert VOCAB.decode_corpus(part) == [["the", "cat"], ["sat"]]


STATES: dict[str, tuple[Any, str]] = {
    "nothing": ({}, "must have pad_id, eos_id, unk_id, symbols too"),
    "no eos": ({"pad_id": 0, "unk_id": 2, "symbols": SPECIAL}, r"must have eos_id too, got \['pad_id'"),
    "None": ({"pad_id": 0, "eos_id": None, "unk_id": 2, "symbols": SPECIAL}, "must have eos_id too"),
    "symbols of text": ({"pad_id": 0, "eos_id": 1, "unk_id": 2, "symbols": "abc"}, "damaged: .*'abc'"),
    "no list": ({"pad_id": 0, "eos_id": 1, "unk_id": 2, "symbols": 5}, "damaged: .*int"),
    "twice": ({"pad_id": 0, "eos_id": 1, "unk_id": 2, "symbols": ["a", "b", "c", "c"]}, "damaged: .*'c' 2 times"),
    "id of text": ({"pad_id": "0", "eos_id": 1, "unk_id": 2, "symbols": SPECIAL}, "damaged: .*pad_id"),
    "a list": ([1, 2], "a dict, got list"),
}


@pytest.mark.parametrize("name", STATES)
def test_damaged_states(name: str) -> None:
    """A state that lacks something, or is something else, is refused by what is wrong; as JSON too."""
    state, said = STATES[name]
    with pytest.raises(InvalidValueError, match=said):
        Vocabulary.from_state_dict(state)
    with pytest.raises(InvalidValueError, match=said):
        Vocabulary.from_json(json.dumps(state))


def test_damaged_json() -> None:
    """What is no JSON is refused."""
    with pytest.raises(InvalidValueError, match="must be JSON"):
        Vocabulary.from_json(VOCAB.to_json()[:-5])


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=9)), st.integers(3, 12) | st.none())
def test_collecting(sentences: list[list[str]], most: int | None) -> None:
    """The most frequent symbols are taken, of equally frequent ones the first; one by one or all at once."""
    one_by_one, at_once, merged = VocabularyCollector(), VocabularyCollector(), VocabularyCollector()
    for sentence in sentences:
        at_once.add_symbols(sentence)
        for symbol in sentence:
            one_by_one.add_symbol(symbol)
    merged.add_symbols(at_once.symbol_count)
    flat = [symbol for sentence in sentences for symbol in sentence]
    wanted = sorted(dict.fromkeys(flat), key=lambda s: (-flat.count(s), flat.index(s)))
    wanted = wanted if most is None else wanted[: most - 3]
    for collector in (one_by_one, at_once, merged):
        assert len(collector) == len(set(flat))
        vocab = collector.consolidate(most)
        assert vocab.idx2symbol == [*SPECIAL, *wanted]
        assert (vocab.pad_id, vocab.eos_id, vocab.unk_id) == (0, 1, 2)
        assert collector.consolidate(most, sorting_key=lambda s: -ord(s)).idx2symbol[3:] == sorted(wanted, reverse=True)


def test_names_of_the_special_symbols() -> None:
    """Pad is 0, eos 1 and unk 2, whatever they are called; then the usual names are symbols like others."""
    collector = VocabularyCollector()
    collector.add_symbols(["<unk>", "a"])
    vocab = collector.consolidate(unk_symbol="U", pad_symbol="P", eos_symbol="E")
    assert vocab.idx2symbol == ["P", "E", "U", "<unk>", "a"]
    assert vocab.encode(["a", "b", "<unk>"], use_unk=True) == [4, 2, 3, 1]
    assert repr(collector) == "<VocabularyCollector: 2 symbols>"


CONSOLIDATED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "too few": ({"max_num_symbols": 2}, InvalidValueError, "max_num_symbols.*at least 3, got 2"),
    "text": ({"max_num_symbols": "9"}, InvalidTypeError, "max_num_symbols"),
    "unk collected": ({"unk_symbol": "a"}, InvalidValueError, "unk_symbol .*'a' was collected 2 times"),
    "eos collected": ({"eos_symbol": "b"}, InvalidValueError, "eos_symbol .*'b' was collected 1 times"),
    "the same": ({"pad_symbol": "<unk>"}, InvalidValueError, "must differ, got .*'<unk>'"),
}


@pytest.mark.parametrize("name", CONSOLIDATED)
def test_vocabularies_that_cannot_be_made(name: str) -> None:
    """Special symbols that were collected or are the same, and too small a number, are refused."""
    arguments, kind, said = CONSOLIDATED[name]
    collector = VocabularyCollector()
    collector.add_symbols("aba")
    with pytest.raises(kind, match=said):
        collector.consolidate(**arguments)
    assert collector.symbol_count == Counter("aba")


def test_symbols_that_are_no_text() -> None:
    """A symbol that is no str is refused when it is added, or at the latest when the vocabulary is made."""
    collector = VocabularyCollector()
    with pytest.raises(InvalidTypeError, match="str, got 5"):
        collector.add_symbol(5)  # type: ignore[arg-type]
    collector.add_symbols(["a", 5])  # type: ignore[list-item]
    with pytest.raises(InvalidTypeError, match="str, got 5"):
        collector.consolidate()


def test_a_codec() -> None:
    """A codec goes from text to int32 ids and back, mutes nothing, and is the same after a pickle."""
    for codec in (made := vocab_to_codec(VOCAB, str.split, " ".join, use_unk=True), pickle.loads(pickle.dumps(made))):
        ids = codec.encode_text("the dog sat")
        assert (ids.tolist(), ids.dtype) == ([3, 2, 5, 1], np.int32)
        assert codec.decode_text(ids) == "the <unk> sat </s>"
        assert codec.tokenize(" the  cat") == ["the", "cat"]
        assert codec.decode(codec.encode(["cat"])) == ["cat", "</s>"]
        assert codec.detokenize(["a", "b"]) == "a b"
    bare = vocab_to_codec(VOCAB, str.split, " ".join, add_eos=False)
    assert bare.encode_text("dog").dtype == np.int32
    assert bare.encode_text("dog cat").tolist() == [4]
    assert "tokenize=split" in repr(bare) or "str.split" in repr(bare)


WRONG_CODECS: dict[str, tuple[Callable[[], Any], str]] = {
    "no vocabulary": (lambda: vocab_to_codec(WORDS, str.split, " ".join), "Vocabulary, got list"),  # type: ignore[arg-type]
    "no tokenize": (lambda: vocab_to_codec(VOCAB, None, " ".join), "tokenize .*None"),  # type: ignore[arg-type]
    "no detokenize": (lambda: vocab_to_codec(VOCAB, str.split, " "), "detokenize .*' '"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG_CODECS)
def test_codecs_that_cannot_be(name: str) -> None:
    """What is no vocabulary or function is refused when the codec is made."""
    make, said = WRONG_CODECS[name]
    with pytest.raises(InvalidTypeError, match=said):
        make()


def test_a_codec_must_do_all_four() -> None:
    """The contract cannot be met in part."""

    class Half(TextCodec):
        def tokenize(self, sentence: str) -> list[str]:
            return sentence.split()

    with pytest.raises(TypeError, match=r"decode.*detokenize.*encode"):
        Half()  # type: ignore[abstract]
