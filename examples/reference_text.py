"""The text that the examples read: the reference of the Python language, which ships with Python itself."""

from __future__ import annotations

import re
from pydoc_data.topics import topics


def sentences() -> list[list[str]]:
    """Return the sentences of 3 to 100 words of the reference: some 4,500 lists of words, 60,000 words in all."""
    split = (re.split(r"\n\n|(?<=[.:;])\s", text) for text in topics.values())
    words = (re.findall(r"[A-Za-z]+", sentence) for parts in split for sentence in parts)
    return [sentence for sentence in words if 3 <= len(sentence) <= 100]
