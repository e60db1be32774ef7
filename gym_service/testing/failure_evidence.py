"""The lines of an error that a row of ``gym-service check`` shows beside its first one.

Knows the facts that errors carry, and which lines of a traceback or of a server's output say most. Never knows causes
(``causes.py`` of the launcher). Python 3.10 and up.
"""

import re

from gym_service_launcher.config.entry import Entry

from gym_service.errors import CallTimeout, ConfigError, EnvError, ImportFailed, ServerCrashed, ServerStartError

# What a program prints right before it dies says why.
LAST_LINES = 4
SHOWN_CHARS = 300
# A traceback has quotation marks and commas, the dump of a dying process has none of the latter.
# A SyntaxError has no function.
FRAME = re.compile(r'^ *File "([^"]+)", line (\d+)(?:,? in (.+))?$')
MARKERS = re.compile(r"[\s^~]*")
# Places that say no more than the error: our server, an import, the search for an id.
OF_NO_INTEREST = re.compile(r"/gym_service/server/|/importlib/__init__\.py$|/envs/registration\.py$")
SHOWN_SOURCE_CHARS = 120
DUMP = "Fatal Python error: "


def lines_of(error: Exception) -> tuple[str, ...]:
    """The evidence of an error: at most some five lines, none if its first line says it all."""
    if isinstance(error, EnvError):
        found = _raised_at(error.remote_traceback)
    elif isinstance(error, ImportFailed):
        found = _raised_at(str(error).partition("\n  interpreter: ")[0])
    elif isinstance(error, ConfigError):
        found = _listed(str(error))
    elif isinstance(error, CallTimeout):
        found = _stopped_at(error.stack.splitlines())
    elif isinstance(error, ServerStartError | ServerCrashed):
        first = str(error).partition("\n  interpreter: ")[0]
        found = _stopped_at(first.splitlines()) or _last_words(error.tail)
    else:
        found = []
    first = str(error).partition("\n")[0]  # as of ssh, whose last word is part of it
    return tuple(line.strip()[:SHOWN_CHARS] for line in found if line.strip() not in first)


def next_step(entry: Entry, check: str) -> str:
    """How to see more of an error of the simulator than a row shows. Its traceback is in the error in Python."""
    calls = {
        "reset": 'gym_service.make("{0}").reset()',
        "steps": 'gym_service.make("{0}"), then reset() and step() until it raises,',
        "render": 'gym_service.make("{0}", render_mode="rgb_array"), then reset() and render(),',
    }
    call = calls.get(check, 'gym_service.make("{0}")').format(entry.name)
    return f"{call} in Python: its error has the whole traceback"


def _raised_at(traceback: str) -> list[str]:
    """Where a traceback ends, with the line of source. Nothing where that says no more than the error."""
    lines = traceback.splitlines()
    for number in reversed(range(len(lines))):
        match = FRAME.match(lines[number])
        if match is None or match[1].startswith("<frozen "):
            continue
        if OF_NO_INTEREST.search(match[1]):
            return []
        source = lines[number + 1].strip()[:SHOWN_SOURCE_CHARS] if number + 1 < len(lines) else ""
        return [_place(match) + (f": {source}" if source else "")]
    return []


def _stopped_at(lines: list[str]) -> list[str]:
    """The innermost place of a stack, which comes first."""
    for line in lines:
        match = FRAME.match(line)
        if match:
            return [_place(match)]
    return []


def _place(match: "re.Match[str]") -> str:
    return f"in {match[3]}, {match[1]}, line {match[2]}" if match[3] else f"in {match[1]}, line {match[2]}"


def _last_words(tail: str) -> list[str]:
    """The end of a server's output; of a dying process also where it was."""
    lines = [line for line in tail.splitlines() if not MARKERS.fullmatch(line)]
    dump = next((number for number, line in enumerate(lines) if DUMP in line), None)
    if dump is None:
        frames = [number for number, line in enumerate(lines) if FRAME.match(line)]
        last = lines[frames[-1] + 2 :] if frames else lines
        said = dict.fromkeys(line.strip().removeprefix("SystemExit: ") for line in last[-LAST_LINES:])
        return [*_raised_at("\n".join(lines)), *said]
    return [*lines[max(0, dump - LAST_LINES + 1) : dump + 1], *_stopped_at(lines[dump:])]


def _listed(text: str) -> list[str]:
    """The places that were searched, which follow the first line."""
    return [line for line in text.partition("\n  try: ")[0].splitlines()[1:] if line.strip()]
