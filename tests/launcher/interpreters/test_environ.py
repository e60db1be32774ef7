"""What the texts of ``environ`` become."""

import pytest
from gym_service_launcher.standalone.env_vars import BadVariable, expand


def test_what_a_text_of_environ_may_refer_to() -> None:
    variables = {"HOME": "/h$A", "A": "a", "EMPTY": ""}
    for text, expected in {
        "$A${A}b": "aab",
        "$$A": "$A",
        "~:/x:~/y:~z:a~": "/h$A:/x:/h$A/y:~z:a~",
        "${A}~:~$A": "a~:~a",
        "${GONE:-}": "",
        "${EMPTY:-b}": "b",
        "${A:-$GONE}": "a",
        "${GONE:-$A:x}": "a:x",
        "${GONE:-${A}/${A}}": "a/a",
        "${GONE:-${GONE:-b$A}}c": "bac",
        "${GONE:-$$$A$$}": "$a$",
        "${GONE:-~}": "/h$A",
        "${GONE:-~/a:~/b}:~": "/h$A/a:/h$A/b:/h$A",
        "${GONE:-${GONE:-~/a}}": "/h$A/a",
    }.items():
        assert expand("X", text, variables) == expected, text
    for text, reason in {
        "$": "a $ that names no variable; expected $NAME, ${NAME}, or $$ for a dollar",
        "${A": "a $ that names no variable",
        "${GONE:-$}": "a $ that names no variable",
        "${GONE:-${GONE}}": "the variable GONE is not set; expected ${GONE:-} for",
        "${GONE:-${A:-${A}}}": "a default that cannot be read; expected ${NAME:-text}, ${NAME:-$OTHER} or",
        "${A:-{b}}": "a default that cannot be read",
        "${A:-" + 5000 * "$": "a default that cannot be read",
    }.items():
        with pytest.raises(BadVariable) as raised:
            expand("X", text, variables)
        assert str(raised.value).startswith(f"environ.X: {reason}"), text
