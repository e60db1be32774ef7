"""The pages' statements about the repository: the tests that they name, their words, the generated reference."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from support.paths import REPOSITORY

NAMED = re.compile(r"`(tests/\w+/[\w/]+\.py)(?:::(\w+))?`")
DOCUMENTS = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]


def script(name: str) -> ModuleType:
    """A script of docs/scripts, which is not a package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", REPOSITORY / f"docs/scripts/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_test_that_a_page_names_exists() -> None:
    named = [(page, *found) for page in DOCUMENTS for found in NAMED.findall(page.read_text(encoding="utf-8"))]
    assert len(named) > 30
    missing = [
        f"{page.name}: {file}::{test}"
        for page, file, test in named
        if not (REPOSITORY / file).exists() or (test and f"def {test}(" not in (REPOSITORY / file).read_text())
    ]
    assert missing == []


def test_every_page_is_in_the_navigation() -> None:
    """mkdocs checks this too, in the venv of the documentation."""
    navigation = (REPOSITORY / "mkdocs.yml").read_text()
    assert [page.name for page in REPOSITORY.glob("docs/*.md") if f" {page.name}\n" not in navigation] == []


def test_every_example_is_listed() -> None:
    text = (REPOSITORY / "docs/examples.md").read_text()
    files = [path for path in (REPOSITORY / "examples").rglob("*.*") if path.suffix in (".py", ".sh", ".toml")]
    assert len(files) > 8
    assert [path.name for path in files if f"{path.relative_to(REPOSITORY / 'examples')}`" not in text] == []


def test_a_banned_word_is_found_outside_of_code_alone(tmp_path: Path) -> None:
    style = script("style")
    page = tmp_path / "page.md"
    page.write_text("A good page.\n\n```bash\nsimply\n```\nUse `simply`. It is Simply so.\n")
    assert [line.partition("page.md")[2] for line in style.banned_words(page)] == [":6: 'Simply'; write: leave it out"]


def test_the_generated_pages_have_every_key_command_and_error() -> None:
    """They are generated at build time. Here too, so that a source that the generator cannot read fails early."""
    from gym_service_launcher.config import entry

    from gym_service import errors
    from gym_service.cli import main

    pages = script("reference").pages()
    assert [key for key in entry.ENTRY_KEYS if f"| `{key}` |" not in pages["reference-keys.md"]] == []
    assert "| `" in pages["reference-keys.md"].partition("[interpreters.NAME]")[2]
    _, commands = main._parser()
    assert [name for name in commands.choices if f"## gym-service {name}\n" not in pages["reference-cli.md"]] == []
    classes = [name for name in errors.__all__ if name[0].isupper() and (name == "EnvError" or name[:3] != "Env")]
    assert "## EnvTypeError" not in pages["reference-errors.md"]
    assert [name for name in classes if f"## {name}\n" not in pages["reference-errors.md"]] == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array", "items": {"type": "string"}}, "list of string"),
        ({"anyOf": [{"type": "string"}, {"enum": [False]}]}, "string or `false`"),
        ({"type": ["string", "null"]}, "string or null"),
        ({}, "any value"),
    ],
)
def test_types_in_words(schema: dict[str, object], words: str) -> None:
    assert script("reference")._type(schema) == words
