"""Runs every shell and Python block of the documents unchanged, starting with an empty home.

An ordinary run includes the blocks that download nothing; the long form includes all blocks that can run: ``pytest
tests/docs -m long``.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from gym_service_launcher.config import envs_file
from gym_service_launcher.interpreters.discovery import find_uv
from support import doc_blocks
from support.doc_blocks import BlockFailed, PageRun
from support.hosts import missing, sshd, which
from support.paths import REPOSITORY
from support.targets import TARGETS, find_interpreter

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(REPOSITORY.glob("docs/*.md"))]
BLOCKS = {page: doc_blocks.blocks(page) for page in PAGES}
QUICK = [page for page in PAGES if any(block.runs and "long" not in block.words.split() for block in BLOCKS[page])]
LONG = [page for page in PAGES if any(block.runs and "long" in block.words.split() for block in BLOCKS[page])]
SIMULATOR = "pusht"
# This page creates the simulator and envs.toml itself, so it starts without them.
OWN = REPOSITORY / "docs/quickstart.md"
# This page uses the host "sim-host", on which /opt/sim_env is the simulator's venv.
SSH = REPOSITORY / "docs/commands.md"
# The Pythons on a reader's machine, and the settings that a proxy, an index and a package cache need.
READERS_PYTHONS = ("3.10", "3.8")
NETWORK = ("PIP_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "PYENV_ROOT")


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """An environment with this Python as ``python`` and the command ``gym-service``, but no settings of the user."""
    programs = tmp_path / "programs"
    programs.mkdir()
    run = f'export PYTHONPATH="{REPOSITORY}:{REPOSITORY / "launcher"}"\nexec "{sys.executable}"'
    for name, words in (("python", ""), ("python3", ""), ("gym-service", " -m gym_service")):
        (programs / name).write_text(f'#!/bin/sh\n{run}{words} "$@"\n')
        (programs / name).chmod(0o755)
    mark = {name: value for name, value in os.environ.items() if name == "GYM_SERVICE_TEST_RUN"}
    return {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **mark}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of gym-service and its plugin, which are on no index."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (REPOSITORY, REPOSITORY / "integrations/lerobot_env_gym_service"):
        subprocess.run([*uv(), "build", "--quiet", "--wheel", "-o", folder, project], check=True)
    return folder


@pytest.fixture
def readers(tmp_path: Path, variables: dict[str, str], wheels: Path) -> dict[str, str]:
    """The environment of a reader who has installed gym-service into an active venv.

    Its pip is uv's, so that packages that another page has downloaded are not downloaded again.
    """
    programs, cache = tmp_path / "programs", subprocess.check_output([*uv(), "cache", "dir"], text=True).strip()
    for version in READERS_PYTHONS:
        (programs / f"python{version}").write_text(f'#!/bin/sh\nexec "{find_interpreter(version)}" "$@"\n')
        (programs / f"python{version}").chmod(0o755)
    network = {name: value for name, value in os.environ.items() if name.startswith(NETWORK)}
    pyenv = {"PYENV_ROOT": str(Path("~/.pyenv").expanduser())}
    found = {**variables, **pyenv, **network, "UV_CACHE_DIR": cache, "UV_FIND_LINKS": str(wheels)}
    found["PIP_FIND_LINKS"] = f"{wheels} {network.get('PIP_FIND_LINKS', '')}".strip()
    venv, base = tmp_path / "trainer", find_interpreter("3.12")
    subprocess.run([*uv(), "venv", "--quiet", "--python", str(base), venv], check=True)
    (venv / "bin/pip").write_text(f'#!/bin/sh\nexec {" ".join(uv())} pip "$@"\n')
    (venv / "bin/pip").chmod(0o755)
    found |= {"VIRTUAL_ENV": str(venv), "PATH": f"{venv / 'bin'}:{found['PATH']}"}
    subprocess.run([*uv(), "pip", "install", "--quiet", "gym-service"], env=found, check=True)
    for name in ("python", "python3", "gym-service"):
        (programs / name).unlink()
    return found


@contextlib.contextmanager
def sim_host(folder: Path) -> Iterator[None]:
    """A running sshd that ``ssh sim-host`` reaches. OpenSSH does not look for its config in $HOME, so it is named."""
    (folder / "sshd").mkdir()
    with sshd(folder / "sshd", TARGETS[SIMULATOR].python().parent.parent) as host:
        config = folder / "sshd/reader"
        config.write_text(
            f"Host sim-host\n  HostName 127.0.0.1\n  Port {host.port}\n  User {host.user}\n"
            f"  IdentityFile {host.folder / 'sh'}\n  IdentitiesOnly yes\n  StrictHostKeyChecking yes\n"
            f"  UserKnownHostsFile {host.folder / 'known_hosts'}\n  LogLevel ERROR\n"
        )
        ssh = folder / "programs/ssh"
        ssh.write_text(f'#!/bin/sh\nexec {which("ssh")} -F {config} "$@"\n')
        ssh.chmod(0o755)
        yield


def uv() -> list[str]:
    found = find_uv()
    if found is None:
        missing("uv")
    return list(found or ())


def given(run: PageRun) -> None:
    """Provide what a page may rely on: the simulator and the envs.toml of the quickstart."""
    (run.lab / "sim_env").symlink_to(TARGETS[SIMULATOR].python().parent.parent)
    quickstart = doc_blocks.blocks(REPOSITORY / "docs/quickstart.md")
    (run.lab / "envs.toml").write_text(next(block.text for block in quickstart if block.title == "envs.toml"))
    shutil.copytree(REPOSITORY / "examples", run.lab / "examples", dirs_exist_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", QUICK, ids=lambda page: page.stem)
def test_blocks_that_download_nothing(page: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    with PageRun(tmp_path, variables, long=False) as run:
        given(run)
        run.play(BLOCKS[page])
    assert run.ran


@pytest.mark.long
@pytest.mark.parametrize("page", LONG, ids=lambda page: page.stem)
def test_all_blocks(page: Path, tmp_path: Path, readers: dict[str, str]) -> None:
    """Takes some minutes and some GB in all."""
    with contextlib.ExitStack() as stack:
        if page == SSH:
            stack.enter_context(sim_host(tmp_path))
        run = stack.enter_context(PageRun(tmp_path, readers, long=True))
        if page != OWN:
            given(run)
        run.play(BLOCKS[page])
    assert run.ran


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_toml_blocks_are_read_as_envs_toml(page: Path, tmp_path: Path) -> None:
    """Their keys and values pass the checks of an envs.toml. Keys without a table count as those of an entry."""
    for number, block in enumerate(block for block in BLOCKS[page] if block.language == "toml"):
        file = tmp_path / f"{number}.toml"
        bare = not block.text.lstrip("# \n").startswith("[") and "\n[" not in block.text
        file.write_text('[envs."X-v0"]\n' * bare + block.text)
        assert not envs_file.load(file).problems, block.place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_runs_or_says_why_not(page: Path) -> None:
    """Languages that do not run are listed, so that a misspelt language is not overlooked."""
    for block in BLOCKS[page]:
        assert block.language in ("bash", "python", "toml", "text", "yaml", "dockerfile"), block.place
        if block.language in ("text", "toml", "yaml"):
            assert block.words.startswith("output") or not block.words, block.place
        if "not run" in block.words:
            assert len(block.reason) > 5, f"{block.place}: the reason is missing"


def test_count(capsys: pytest.CaptureFixture[str]) -> None:
    """Print how many blocks run and how many cannot; release notes state these numbers."""
    all_blocks = [block for page in PAGES for block in BLOCKS[page] if block.language in doc_blocks.RUN]
    kinds = Counter(
        "file" if block.title else "not run" if block.reason else "long" if "long" in block.words.split() else "quick"
        for block in all_blocks
    )
    with capsys.disabled():
        print(f"\nblocks: {dict(kinds)}, pages: {len(PAGES)}")
    assert kinds["quick"] > 10


def test_a_wrong_output_is_noticed(tmp_path: Path, variables: dict[str, str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\necho 3 apples\n```\n\n<!-- block: output -->\n```text\n4 apples\n```\n")
    (tmp_path / "run").mkdir()
    with PageRun(tmp_path / "run", variables, long=False) as run, pytest.raises(BlockFailed, match="3 apples"):
        run.play(doc_blocks.blocks(page))


def test_a_block_that_fails_is_noticed(tmp_path: Path, variables: dict[str, str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\nfalse\necho on\n```\n")
    (tmp_path / "run").mkdir()
    with PageRun(tmp_path / "run", variables, long=False) as run, pytest.raises(BlockFailed, match="ended with 1"):
        run.play(doc_blocks.blocks(page))


@pytest.mark.parametrize(
    ("printed", "is_same"),
    [
        ("reset in 968 µs, shape 24×24\n", True),
        ("reset in 1 min 3 s, shape -1×7\n", True),
        ("reset in 2.6 ms, shape 680\n", False),
        ("reset  2.6 ms, shape 680×680\n", False),
    ],
)
def test_numbers_and_times_stand_for_others(printed: str, is_same: bool) -> None:
    shown = doc_blocks.Block(Path(), 1, "text", "", "output, numbers", "reset in 2.6 ms, shape 680×680\n")
    if is_same:
        doc_blocks.compare(shown, printed)
    else:
        with pytest.raises(BlockFailed):
            doc_blocks.compare(shown, printed)


def test_state_and_numbers(tmp_path: Path, variables: dict[str, str]) -> None:
    """Variables and the folder persist; a number stands for any number; … stands for lines."""
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nmkdir in\ncd in\nexport FRUIT=pear\n```\n\n```bash\necho 12.5 $FRUIT\npwd\necho end\n```\n\n"
        "<!-- block: output, numbers -->\n```text\n3 pear\n…\nend\n```\n"
    )
    (tmp_path / "run").mkdir()
    with PageRun(tmp_path / "run", variables, long=False) as run:
        run.play(doc_blocks.blocks(page))
    assert len(run.ran) == 2
