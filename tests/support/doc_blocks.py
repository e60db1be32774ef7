"""Reads and runs the blocks of the documents: each page from top to bottom, in its own folder and home.

A comment in front of a block says how to treat it; readers do not see it. ``<!-- block: WORDS -->`` with

``not run: REASON``   it cannot run here; it is counted
``long``              it runs only in the long form of the tests, because it downloads or takes long
``continues``         this Python block continues where the Python block before it ended
``fails``             it ends with an error, which the block of output after it shows
``background``        it runs until the page ends; the next block waits for its first line
``output``            the output of the block before it. ``…`` stands for any text, on its own line for any lines
``output, numbers``   the same, but any number stands for any number

``title="NAME"`` after the language makes the block the content of a file. Knows no page. Python 3.10 and up.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(
    r"^(?:<!-- block: (?P<words>[^>]*?) -->\n)?(?P<fence>```)(?P<info>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
TITLE = re.compile(r'title="([^"]+)"')
RUN = ("bash", "python")
NUMBER = r"-?\d+(?:[.,]\d+)*"
# A time may be shown in another unit on another machine.
UNIT, ANY_UNIT = r" (?:µs|ms|s)\b", r" (?:µs|ms|s|min \d+ s)"
# A line about a start that takes more than two seconds, which depends on the machine.
LATE = "waiting for the server of"
LONGEST_BLOCK_S = 540
FIRST_LINE_S = 60
# What the next block gets from a block: the variables and the folder.
LEAVE = 'export -p > "$BLOCK_STATE/variables"\npwd > "$BLOCK_STATE/folder"\n'
ENTER = 'set -e\n. "$BLOCK_STATE/variables"\ncd "$(cat "$BLOCK_STATE/folder")"\n'


class Block(NamedTuple):
    """A fenced block: its page, line, language, title, directive and text."""

    page: Path
    line: int
    language: str
    title: str
    words: str
    text: str

    @property
    def reason(self) -> str:
        """Why it cannot run; empty if it can."""
        return self.words.partition("not run: ")[2]

    @property
    def runs(self) -> bool:
        return self.language in RUN and not self.title and not self.reason

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        language, _, rest = match["info"].partition(" ")
        title = TITLE.search(rest)
        line = text.count("\n", 0, match.start("fence")) + 1
        found.append(Block(page, line, language, title[1] if title else "", match["words"] or "", match["text"]))
    return found


class BlockFailed(AssertionError):
    """A block ended with an error, or its output differs from the page."""


class PageRun:
    """One page in its own folder.

    Args:
        folder: an empty folder; the page's working directory is ``lab`` in it, its home ``home``.
        variables: the environment, complete.
        long: whether blocks marked ``long`` run.
    """

    def __init__(self, folder: Path, variables: dict[str, str], long: bool) -> None:
        self.lab, self.home, self.state = folder / "lab", folder / "home", folder / "state"
        # A temporary folder of its own: some training libraries leave files there.
        for made in (self.lab, self.home, self.state, folder / "tmp"):
            made.mkdir()
        self.long = long
        self.variables = {**variables, "HOME": str(self.home), "TMPDIR": str(folder / "tmp")}
        self.variables["BLOCK_STATE"] = str(self.state)
        (self.state / "variables").write_text("")
        (self.state / "folder").write_text(f"{self.lab}\n")
        self.ran: list[Block] = []
        self._background: list[subprocess.Popen[str]] = []
        self._python = ""
        self._output: str | None = None

    def __enter__(self) -> "PageRun":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._background:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=30)

    def play(self, page: list[Block]) -> None:
        """Run the blocks of a page.

        Raises:
            BlockFailed: with the place, the block and its output.
        """
        for block in page:
            self.play_block(block)

    def play_block(self, block: Block) -> None:
        words = block.words
        if block.title:
            path = self._folder() / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif words.startswith("output"):
            if self._output is not None:
                compare(block, self._output)
        elif block.runs:
            self._output = None
            if "long" in words.split() and not self.long:
                return
            self.ran.append(block)
            self._run(block)

    def _folder(self) -> Path:
        return Path((self.state / "folder").read_text().rstrip("\n"))

    def _run(self, block: Block) -> None:
        text = block.text
        if block.language == "python":
            self._python = self._python + "\n" + text if "continues" in block.words else text
            path = self.state / f"line_{block.line}.py"
            path.write_text(self._python)
            text = f'python - < "{path}"'  # as at a prompt: the folder is first on sys.path
        command = ["bash", "-c", f"{ENTER}{text}\n{LEAVE}"]
        if "background" in block.words:
            self._start(block, ["bash", "-c", f"{ENTER}{text}"])
            return
        process = subprocess.Popen(
            command,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            self._output, _ = process.communicate(timeout=LONGEST_BLOCK_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            self._output, _ = process.communicate()
            raise BlockFailed(f"{block.place} took too long\n{block.text}\n{self._output}") from None
        if bool(process.returncode) != ("fails" in block.words.split()):
            raise BlockFailed(f"{block.place} ended with {process.returncode}\n{block.text}\n---\n{self._output}")

    def _start(self, block: Block, command: list[str]) -> None:
        log = self.state / f"line_{block.line}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                command,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._background.append(process)
        deadline = time.monotonic() + FIRST_LINE_S
        while "\n" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise BlockFailed(f"{block.place} printed nothing or ended\n{block.text}\n---\n{log.read_text()}")
            time.sleep(0.05)
        self._output = log.read_text()


def compare(block: Block, printed: str) -> None:
    """Compare a block's output with the output on the page.

    Raises:
        BlockFailed: with both texts.
    """
    pattern = "".join(_line_patterns(block.text.rstrip("\n").split("\n"), "numbers" in block.words))
    lines = [line.rstrip() for line in printed.rstrip("\n").split("\n")]
    got = "".join(f"{line}\n" for line in lines if not line.startswith(LATE))
    if not re.fullmatch(pattern, got):
        raise BlockFailed(f"{block.place} shows\n{block.text}\nbut this was printed:\n{got}")


def _line_patterns(lines: list[str], any_numbers: bool) -> Iterator[str]:
    for line in lines:
        if line.strip() == "…":
            yield r"(?:[^\n]*\n)*?"
            continue
        parts = [_pattern(part, any_numbers) for part in line.rstrip().split("…")]
        # Columns move with the width of a number.
        yield re.sub(r"(?:\\ )+", lambda _: " +", "[^\\n]*".join(parts)) + "\n"


def _pattern(text: str, any_numbers: bool) -> str:
    if not any_numbers:
        return re.escape(text)
    words = re.split(f"({NUMBER})({UNIT})?", text)  # what is between, a number, its unit, and again
    patterns = [re.escape(words[0])]
    for number, unit, behind in zip(words[1::3], words[2::3], words[3::3], strict=True):
        patterns += [NUMBER if number else "", ANY_UNIT if unit else "", re.escape(behind)]
    return "".join(patterns)
