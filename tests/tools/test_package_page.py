"""README.md as a package index shows it, and the links between the documents."""

import re
from pathlib import Path

import pytest
from support.paths import REPOSITORY

LINK = re.compile(r"\]\(([^)\s]+)\)")
OURS = re.compile(
    r"https://(?:github\.com/gym-service/gym-service/(?:blob|tree)|raw\.githubusercontent\.com/gym-service/gym-service)/main/"
)
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("integrations/*/*.md")])


def links(document: Path) -> list[str]:
    return LINK.findall(document.read_text(encoding="utf-8"))


def test_every_link_of_the_readme_works_outside_the_repository() -> None:
    found = links(REPOSITORY / "README.md")
    assert len(found) > 10
    assert [link for link in found if not link.startswith("https://")] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_to_a_file_of_ours_leads_to_one(document: Path) -> None:
    ours = [OURS.sub("", link) if OURS.match(link) else link for link in links(document)]
    bases = {
        link: REPOSITORY if OURS.match(full) else document.parent
        for link, full in zip(ours, links(document), strict=True)
    }
    local = [link for link in ours if not link.startswith(("https://", "http://", "#"))]
    missing = [link for link in local if not (bases[link] / link.partition("#")[0]).exists()]
    assert missing == []


def test_the_first_shell_block_of_the_readme_sets_everything_up() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```(?:bash|sh|shell)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block
    assert block[1].splitlines()[-2:] == ["python3 project.py demo", "python3 project.py test"]
