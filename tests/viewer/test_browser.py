"""The page of ``gym-service view`` in a real Chromium, driven by Playwright. The long form: ``-m long``.

Needs ``pip install playwright`` and Chromium, that of ``playwright install chromium`` or one on PATH. With
$GYM_SERVICE_SCREENSHOTS, a folder, the pictures of docs/view.md are written there.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed: the extra `view`")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from support.paths import ENVS, REPOSITORY  # noqa: E402
from support.targets import TARGETS  # noqa: E402
from support.viewing import page  # noqa: E402

import gym_service  # noqa: E402

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:.*cannot cross:UserWarning")]
TIMEOUT_S = 60.0
ENTRY = """
[envs."CartPole-v1"]
python = "{python}"
kwargs = {{ render_mode = "rgb_array" }}
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a browser of its own, and fails where it has logged an error."""
    contexts, errors = [], []

    def open_page(address: str, theme: str = "light") -> Any:
        context = chromium.new_context(viewport={"width": 1280, "height": 860}, color_scheme=theme)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.on("request", lambda request: errors.append(request.url) if "127.0.0.1" not in request.url else None)
        tab.goto(address)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not [error for error in errors if not error.startswith("data:") and "blob:" not in error]


def until(tab: Any, is_so: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < end, f"{what}: {tab.inner_text('body')}"
        tab.wait_for_timeout(50)


def frames(tab: Any) -> int:
    """How many pictures have been shown so far."""
    return int(tab.locator("#frames").get_attribute("data-count") or 0)


def pixels(tab: Any) -> list[str]:
    return list(tab.evaluate("[...document.querySelectorAll('#frames canvas')].map((one) => one.toDataURL())"))


def rate(tab: Any) -> float:
    return float(tab.inner_text("#rate").replace(",", "") or 0)


def keep(tab: Any, name: str) -> None:
    folder = os.environ.get("GYM_SERVICE_SCREENSHOTS")
    if folder:
        tab.screenshot(path=str(Path(folder) / name))


def trainer() -> Path:
    """An interpreter with torch for examples/ppo.py."""
    has_torch = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, check=False).returncode == 0
    return Path(sys.executable) if has_torch else TARGETS["mani-skill"].python()


def test_a_training_run_in_two_browsers_until_the_trainer_is_killed(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "envs.toml").write_text(ENTRY.format(python=TARGETS["py313-gymnasium14"].python()), encoding="utf-8")
    options = ["--entry", "CartPole-v1", "--num-envs", "4", "--total-steps", "10000000"]
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "launcher")])
    environ = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)}  # torch leaves a folder there
    with page("--grid", "4") as shown, (tmp_path / "out").open("wb") as out:
        command = [str(trainer()), str(REPOSITORY / "examples/ppo.py"), *options]
        training = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=out, stderr=out)
        try:
            one, two = opened(shown.address), opened(shown.address, "dark")
            for tab in (one, two):
                until(tab, lambda tab=tab: frames(tab) > 3 and rate(tab) > 0, "pictures and a rate")
                assert tab.locator("#frames canvas").count() == 4
                before, shown_before = pixels(tab), frames(tab)
                until(tab, lambda tab=tab, before=before: pixels(tab) != before, "a picture that moves")
                until(tab, lambda tab=tab: tab.locator("#curve circle").count() > 30, "a curve of returns")
                assert tab.locator("#curve polyline").count() == 1
                assert frames(tab) > shown_before
            assert one.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
            assert two.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
            one.wait_for_timeout(8000)  # for a curve that is worth a look
            keep(one, "view.png")
            training.send_signal(signal.SIGKILL)
            for tab in (one, two):
                text = f"Its server has ended: its trainer, process {training.pid}, has ended"
                until(tab, lambda tab=tab, text=text: text in tab.inner_text("#status"), "the end")
            keep(two, "ended.png")
        finally:
            training.kill()
            training.wait()


def test_a_wrong_token_is_refused(opened: Any) -> None:
    with page() as shown:
        context = opened(shown.address).context
        tab = context.new_page()
        response = tab.goto(shown.address[:-2] + "/")
        assert response.status == 403
        assert "no valid token" in tab.inner_text("body")


def test_two_envs_of_which_one_is_chosen_and_one_has_no_render_mode(opened: Any) -> None:
    where = {"entry_point": "viewed:ViewedEnv", "pythonpath": [str(ENVS)], "python": sys.executable}
    with (
        gym_service.make("Seen-v0", kwargs={"render_mode": "rgb_array"}, **where) as seen,
        gym_service.make("Blind-v0", kwargs={}, **where) as blind,
        page() as shown,
        stepping(seen, blind),
    ):
        tab = opened(shown.address, "dark")
        tab.get_by_role("button", name="Blind-v0").click()
        until(tab, lambda: 'try: render_mode="rgb_array"' in tab.inner_text("#problem"), "the missing argument")
        assert tab.locator("#frames canvas").count() == 0
        assert tab.inner_text("#name") == "Blind-v0"
        until(tab, lambda: rate(tab) > 0, "a rate without pictures")
        keep(tab, "blind.png")
        tab.get_by_role("button", name="Seen-v0").click()
        until(tab, lambda: tab.locator("#frames canvas").count() == 1, "a picture")
        assert tab.inner_text("#name") == "Seen-v0"
        assert not tab.locator("#problem").is_visible()
        until(tab, lambda: "viewed.Unprintable" in tab.inner_text("#info"), "the last info")
        tab.reload()  # the address remembers the choice
        until(tab, lambda: tab.inner_text("#name") == "Seen-v0" and tab.locator("#frames canvas").count(), "the choice")
        keep(tab, "seen.png")
        tab.get_by_role("button", name="light / dark").click()
        assert tab.evaluate("document.documentElement.dataset.theme") == "light"


class stepping:  # noqa: N801 - a context manager, named as a function
    """Steps envs in a thread, as a trainer would."""

    def __init__(self, *envs: Any) -> None:
        self._envs = envs
        self._must_end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._must_end.set()
        self._thread.join()

    def _run(self) -> None:
        for env in self._envs:
            env.reset(seed=1)
        while not self._must_end.wait(0.02):
            for env in self._envs:
                if env.step(0)[2]:
                    env.reset()
