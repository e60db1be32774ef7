"""Did you mean: the nearest of a few known words.

Knows spellings. Never knows what the words are for. Python 3.10 and up.
"""

import difflib
import json
from collections.abc import Iterable


def nearest(word: object, words: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(str(word), list(words), n=1, cutoff=0.6)), None)


def suggestion(word: object, words: Iterable[str]) -> str:
    near = nearest(word, words)
    return f"did you mean {json.dumps(near, ensure_ascii=False)}?" if near else ""


def listed(words: Iterable[str]) -> str:
    return "known are " + ", ".join(words)
