"""What stands in an index for a text, and what is looked up for a question: words, and pairs of letters where words have no spaces.

Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without spaces, and Korean adds endings to its words. Pairs of neighbouring
letters need no dictionary and find about as well as words cut by one (Nie et al. 2000, "On the use of words and n-grams for Chinese
information retrieval"; Lucene's CJKAnalyzer does it so). The last letter of a run stands alone too: so each letter begins something
that is in the index, and a question of one letter is looked up as a beginning.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING
from unicodedata import category, normalize

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TOKENIZER", "indexed", "question"]

TOKENIZER = "porter unicode61 categories ''L* M* N* Co''"
"""Of FTS5, in SQL. With marks (`M*`), which its default takes for spaces: vowels of Thai and Hindi are some."""

_MOST_TERMS = 128
"""Of a question: some paragraphs of words, and of pairs two lines."""

_LETTERS = (
    "\u1100-\u11ff\uac00-\ud7a3"  # Hangul
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"  # Han
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3105-\u312f"  # kana, Bopomofo
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"  # Thai, Lao
    "\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1780-\u17b3\u17d7"  # Burmese, Khmer
)
_MARKS = "\u3099\u309a\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u1056-\u1059\u17b4-\u17d3\u17dd"
"""Written around a letter, and part of it."""
_LETTER = re.compile(f"[{_LETTERS}][{_MARKS}]*")
_RUN = re.compile(f"(?:[{_LETTERS}][{_MARKS}]*)+")


def indexed(text: str) -> str:
    """Return what the full-text index is to read for a passage: `text`, with pairs of letters instead of runs without spaces."""

    def pairs(run: re.Match[str]) -> str:
        letters = _LETTER.findall(run[0])
        return f" {' '.join((*_pairs(letters), letters[-1]))} "

    return _RUN.sub(pairs, normalize("NFKC", text))


def question(text: str) -> str:
    """Return a query of FTS5 for passages that have something of `text`; empty: it says nothing that could be looked up."""
    terms: dict[str, None] = {}
    for term in _terms(normalize("NFKC", text)):
        terms[term] = None
        if len(terms) == _MOST_TERMS:
            break
    return " OR ".join(terms)


def _terms(text: str) -> Iterator[str]:
    """Yield each term, quoted: the query language of FTS5 has operators, and the words are a client's."""
    end = 0
    for run in _RUN.finditer(text):
        yield from _words(text[end : run.start()])
        letters, end = _LETTER.findall(run[0]), run.end()
        yield from (f'"{pair}"' for pair in _pairs(letters)) if len(letters) > 1 else (f'"{letters[0]}"*',)
    yield from _words(text[end:])


def _words(text: str) -> Iterator[str]:
    spaced = "".join(char if char == "_" or category(char)[0] in "LMN" else " " for char in text)
    return (f'"{word}"' for word in spaced.split())


def _pairs(letters: list[str]) -> Iterator[str]:
    return (first + second for first, second in pairwise(letters))
