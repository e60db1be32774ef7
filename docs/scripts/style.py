"""Check the spelling and the words of the documents: codespell, and a short list of words that are not used here.

    python docs/scripts/style.py

Knows the documents and the words. Code blocks are checked for spelling, not for words. Python 3.10 and up.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("integrations/*/*.md")])

# The examples of misspelt keys. Lower case, as codespell wants them.
SPELT_RIGHT = ["pyhton", "pyton"]

# What stands in place of a word says what to write. A word counts in any case, as a whole word, outside of code.
BANNED = {
    # words that say nothing, or that judge how clever the reader is
    "simply": "leave it out",
    "obviously": "leave it out",
    "of course": "leave it out",
    "easily": "leave it out",
    "trivial": "say how many steps it takes",
    "seamless": "say what happens",
    "seamlessly": "say what happens",
    "blazing": "give the figure",
    "powerful": "say what it does",
    "leverage": "use",
    "utilize": "use",
    # archaic words
    "anew": "again",
    "whoever": "anyone who",
    "whilst": "while",
    "shall": "must, will",
    "heed": "obey",
    "thereof": "of it",
    "hereby": "leave it out",
    "henceforth": "from now on",
    "upon": "on",
    # words of this project's own that the field has a word for
    "stranger": "pending client",
    "strangers": "pending clients",
    "nursery": "fork server",
    "newborn": "forked server",
    "parcel": "source bundle",
    "leash": "lifeline",
}
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`|\]\([^)\s]*\)|<!--.*?-->", re.DOTALL)
WORDS = re.compile(rf"\b({'|'.join(map(re.escape, BANNED))})\b", re.IGNORECASE)


def main() -> int:
    """Print what is found. Returns 1 if there is anything, else 0."""
    found = [line for document in DOCUMENTS for line in banned_words(document)]
    print("\n".join(found), end="\n" if found else "")
    options = ["--ignore-words-list", ",".join(SPELT_RIGHT)]
    spelling = subprocess.run([sys.executable, "-m", "codespell_lib", *options, *DOCUMENTS], check=False)
    return 1 if found or spelling.returncode else 0


def banned_words(document: Path) -> list[str]:
    """The lines of a document with a banned word, as ``file:line: word; write …``."""
    text = document.read_text(encoding="utf-8")
    for code in (FENCED, CODE):
        text = code.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    name = document.relative_to(ROOT) if document.is_relative_to(ROOT) else document
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}; write: {BANNED[match[0].lower()]}"
        for match in WORDS.finditer(text)
    ]


if __name__ == "__main__":
    sys.exit(main())
