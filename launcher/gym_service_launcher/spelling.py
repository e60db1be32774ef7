"""Did you mean: the nearest of a few known words.

Knows spellings. Never knows what the words are for. Python 3.10 and up.
"""

import json
from collections.abc import Iterable

# A shorter known word is one letter away from too many other words.
SHORTEST_CHARS = 5
# From this length on a word may have two typing mistakes.
LONG_CHARS = 8


def nearest(word: object, words: Iterable[str]) -> str | None:
    """The known word that resembles ``word`` most, or None. For a place in which only known words are valid."""
    import difflib  # only a mistake needs it, and each start would pay for it

    return next(iter(difflib.get_close_matches(str(word), list(words), n=1, cutoff=0.6)), None)


def suggestion(word: object, words: Iterable[str]) -> str:
    """``did you mean "…"?``, or an empty string if no known word is near."""
    near = nearest(word, words)
    return f"did you mean {json.dumps(near, ensure_ascii=False)}?" if near else ""


def listed(words: Iterable[str]) -> str:
    """``known are …``, with all known words."""
    return "known are " + ", ".join(words)


def misspelt(word: str, words: Iterable[str]) -> str | None:
    """The known word of which ``word`` is a typing mistake, or None. For a place in which other words are valid too.

    A typing mistake is one added, missing, wrong or swapped letter, two of them in a word of 8 letters and more, or
    another use of underscores and capitals. So ``pyhton`` is one of python, and ``frameskip`` is none of frames.
    """
    for known in words:
        typed, right = _bare(word), _bare(known)
        allowed = 2 if len(right) >= LONG_CHARS else 1 if len(right) >= SHORTEST_CHARS else 0
        if word != known and _edits(typed, right) <= allowed:
            return known
    return None


def _bare(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _edits(first: str, second: str) -> int:
    """The Damerau-Levenshtein distance, with each letter swapped at most once (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        before, above, row = row, before, [i]
        for j, other in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]
