"""Train the table of `rust/src/signal/language.rs`, and measure it on texts of other projects.

    pip download --no-deps --no-binary :all: langdetect==1.0.9     # n-gram counts of Wikipedia, Apache-2.0
    pip download --no-deps django==5.2.19                          # translations, BSD-3-Clause: to learn from
    pip download --no-deps wagtail django-cms django-allauth       # translations, BSD and MIT: held out

Unpack each, then `python -m benches.languages --profiles langdetect-1.0.9/langdetect/profiles --texts DJANGO --held-out OTHERS
--out rust/src/signal/languages.bin`. Counts of Wikipedia know words, translations of programs know how one speaks to a machine; together
they err half as often on the second as the first alone.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import re
import struct
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPS = (
    "ca cs cy da de en es et fi fr hr hu id it lt lv nl no pl pt ro sk sl sq sv tr vi",
    "bg mk ru uk",
    "ar fa ur",
    "hi mr ne",
)
"""Languages by script, in the order of the core's numbers."""

PER_LANGUAGE = 1400
"""Trigrams kept of each language: its most frequent."""
PROFILE_WEIGHT = 400_000.0
"""What the counts of a profile are scaled to in sum."""
TEXT_WEIGHT = 6.0
"""What a trigram of a translation counts for beside it."""
FLOOR = -11.0
"""Logarithm of the least probability, the same for all, so that no language gains by how little is known of it."""
MOST_GRAMS = 140
"""Trigrams that the core looks at."""
CLAIMED_FROM = 0.97
"""Languages that are found less often are not claimed."""
LEAST_LENGTH = 40
"""Shorter texts are not measured: many of them are names."""
MOST_HELD_OUT = 300
"""Texts of a language that are measured."""

NAMES = {"zh_Hans": "zh", "zh_Hant": "zh", "pt_BR": "pt", "nb": "no", "es_AR": "es", "es_MX": "es"}


def texts(folder: Path) -> dict[str, list[str]]:
    """The translations in the .po files below a folder, by language; placeholders and tags are left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(folder.glob("**/LC_MESSAGES/*.po")):
        name = path.parent.parent.name
        for match in re.finditer(r'^msgstr(?:\[\d\])? ((?:".*"\n?)+)', path.read_text("utf-8"), re.MULTILINE):
            text = "".join(ast.literal_eval(line) for line in match[1].splitlines())
            text = re.sub(r"%\(\w+\)s|%\w|\{\w*\}|<[^>]+>", "", text).strip()
            if len(text) >= LEAST_LENGTH and not text.startswith("Project-Id"):
                found[NAMES.get(name, name)].add(text)
    return {name: sorted(all_of) for name, all_of in found.items()}


def grams(text: str, most: int = 1 << 30) -> Iterator[str]:
    """The trigrams of a text, as the core makes them."""
    text = " " + "".join(letter if letter.isalpha() or "\u0900" <= letter <= "\u094f" else " " for letter in text.lower()) + " "
    text = re.sub(" +", " ", text)
    found = (text[at : at + 3] for at in range(len(text) - 2))
    for number, gram in enumerate(gram for gram in found if gram[1] != " "):
        if number >= most:
            return
        yield gram


def counts(profiles: Path, language: str, translations: list[str]) -> Counter[str]:
    """How often each trigram stands in a language."""
    profile: Counter[str] = Counter()
    for gram, count in json.loads((profiles / language).read_text("utf-8"))["freq"].items():
        if len(gram) == 3:
            profile[gram.lower()] += count
    total = sum(profile.values())
    joined: Counter[str] = Counter()
    for gram, count in profile.items():
        joined[gram] += count * PROFILE_WEIGHT / total  # type: ignore[assignment]  # a Counter adds any numbers
    for text in translations:
        for gram in grams(text):
            joined[gram] += TEXT_WEIGHT  # type: ignore[assignment]
    return joined


def group(script: int, languages: list[str], by_language: dict[str, Counter[str]]) -> tuple[bytes, dict[str, list[int]]]:
    """One script's part of the table, as bytes and by trigram."""
    totals = {name: sum(found.values()) for name, found in by_language.items()}
    kept = sorted({gram for found in by_language.values() for gram, _ in found.most_common(PER_LANGUAGE)})
    rows = {
        gram: [min(255, round(-20 * max(math.log((by_language[name][gram] + 0.5) / totals[name]), FLOOR))) for name in languages]
        for gram in kept
    }
    packed = [ord(gram[0]) << 42 | ord(gram[1]) << 21 | ord(gram[2]) for gram in kept]
    head = struct.pack("<BBI", script, len(languages), len(kept)) + "".join(languages).encode()
    return head + struct.pack(f"<{len(packed)}Q", *packed) + b"".join(bytes(rows[gram]) for gram in kept), rows


def guess(text: str, languages: list[str], rows: dict[str, list[int]]) -> str:
    """The language of a text by the table, as the core finds it."""
    sums = [0] * len(languages)
    for gram in grams(text, MOST_GRAMS):
        for at, cost in enumerate(rows.get(gram, ())):
            sums[at] += cost
    return languages[min(range(len(sums)), key=lambda at: sums[at])]


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("profiles", "texts", "held-out", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    learned, held_out = texts(arguments.texts), texts(arguments.held_out)
    table = b""
    right = asked = 0
    for script, names in enumerate(GROUPS):
        languages = names.split()
        part, rows = group(script, languages, {name: counts(arguments.profiles, name, learned.get(name, [])) for name in languages})
        table += part
        for name in languages:
            known = {*learned.get(name, [])}
            measured = [text for text in held_out.get(name, []) if text not in known][:MOST_HELD_OUT]
            found = Counter(guess(text, languages, rows) for text in measured)
            if measured and found[name] >= CLAIMED_FROM * len(measured):
                right, asked = right + found[name], asked + len(measured)
            if measured:
                wrong = ", ".join(f"{other} {count}" for other, count in found.most_common(4) if other != name)
                print(f"{name}: {found[name]} of {len(measured)}, {found[name] / len(measured):.3f} {wrong}")
    arguments.out.write_bytes(table)
    print(f"claimed: {right / asked:.4f} of {asked}; {len(table):,} bytes")


if __name__ == "__main__":
    main()
