"""The page of ``gym-service view`` over HTTP: who may see it, what it shows, and how it ends. Without a browser."""

import asyncio
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from gym_service_launcher.processes import pidfiles
from support.looking import records
from support.paths import ENVS, REPOSITORY
from support.serving import running
from support.viewing import browser, files_of, page

import gym_service
from gym_service.cli import main as cli
from gym_service.viewer.pictures import encode

pytestmark = pytest.mark.filterwarnings("ignore:.*cannot cross:UserWarning")
STATIC = REPOSITORY / "gym_service/viewer/static"
MODE = {"render_mode": "rgb_array"}


def made(name: str = "Viewed-v0", **kwargs: Any) -> Any:
    return gym_service.make(
        name, entry_point="viewed:ViewedEnv", pythonpath=[str(ENVS)], python=sys.executable, kwargs=kwargs
    )


def test_only_with_the_token_and_from_this_machine() -> None:
    async def ask(address: str) -> None:
        base, token = re.findall(r"^(http://[^/]+)/([^/]+)/$", address)[0]
        refused: list[tuple[str, dict[str, str]]] = [
            (f"{base}/", {}),
            (f"{base}/{token}x/", {}),
            (f"{base}/{token[:-1]}/", {}),
            (f"{base}/%ff%00/", {}),
            (f"{base}/stream", {}),
            (address, {"Host": "evil.example"}),
            (address, {"Host": "127.0.0.1.evil.example"}),
            (f"{address}stream", {"Origin": "http://evil.example"}),
        ]
        async with aiohttp.ClientSession() as session:
            for url, headers in refused:
                async with session.get(url, headers=headers) as response:
                    assert response.status == 403, (url, headers)
                    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
                    assert token not in await response.text()
            async with session.get(address, headers={"Host": "localhost:9000"}) as response:  # through ssh -L
                assert response.status == 200
                text = await response.text()
            assert files_of(text) == ["data:,", "view.css", "view.js"]
            for name in ("view.css", "view.js"):
                async with session.get(address + name) as response:
                    assert response.status == 200
                    assert response.headers["Content-Security-Policy"].count("'self'") == 4
                    assert response.headers["Referrer-Policy"] == "no-referrer"
            async with session.get(f"{address}../app.py") as response:
                assert response.status in (403, 404)
            async with session.get(f"{address}%2e%2e%2fapp.py") as response:
                assert response.status == 404

    with page() as shown:
        asyncio.run(ask(shown.address))
        listening = [line.split() for line in Path(f"/proc/{shown.process.pid}/net/tcp").read_text().splitlines()]
        port = int(re.findall(r":(\d+)/", shown.address)[0])
        hosts = {
            row[1].split(":")[0] for row in listening[1:] if row[3] == "0A" and int(row[1].split(":")[1], 16) == port
        }
        assert hosts == {"0100007F"}


def test_the_files_name_nothing_that_is_elsewhere() -> None:
    for path in STATIC.iterdir():
        found = set(re.findall(r"https?://[^\s\"'`]+", path.read_text(encoding="utf-8")))
        assert found <= {"http://www.w3.org/2000/svg"}  # a name that nothing loads


def test_two_browsers_look_at_two_envs_of_a_program_that_takes_no_part() -> None:
    with made(**MODE) as env, made("Blind-v0") as blind, page() as shown:
        env.reset(seed=1)
        blind.reset(seed=1)

        async def look() -> None:
            async with browser(shown.address) as one, browser(shown.address) as two:
                keys = {row["name"]: row["key"] for row in one.envs}
                assert set(keys) == {"Viewed-v0", "Blind-v0"}
                await one.choose(keys["Viewed-v0"])
                await one.until(lambda: one.pictures, lambda: env.step(0))
                assert one.pictures[0].shape == (8, 12, 3)
                await two.choose(keys["Blind-v0"])
                await two.until(lambda: two.view.get("facts"), lambda: blind.step(0))
                assert 'try: render_mode="rgb_array"' in two.view["facts"]["problem"]
                assert two.pictures == []
                await two.choose(keys["Viewed-v0"])
                await two.until(lambda: two.pictures, lambda: env.step(0))
                before = one.view["facts"]["steps"]
                await one.until(lambda: one.view["facts"]["steps"] > before, lambda: env.step(0))
                await one.until(lambda: one.view["stepsPerS"] > 0, lambda: env.step(0))
                assert dict(one.view["facts"]["info"])["unprintable"] == "viewed.Unprintable"
                (server,) = records("Viewed-v0")
                pidfiles.stop(server)
                for each in (one, two):
                    await each.until(lambda each=each: "its server has ended" in each.view["status"])
                    assert each.pictures

        asyncio.run(look())
        assert not list(pidfiles.user_dirs.runtime_dir().glob("*.view"))


def test_nobody_asks_the_server_for_pictures_while_no_browser_looks() -> None:
    with made(**MODE) as env, page() as shown:
        env.reset(seed=1)
        (server,) = records()

        async def look() -> None:
            async with browser(shown.address) as one:
                await one.choose(one.envs[0]["key"])
                await one.until(lambda: one.pictures, lambda: env.step(0))
                assert server.record.with_suffix(".view").exists()

        asyncio.run(look())

        async def wait() -> None:
            async with browser(shown.address) as one:  # which chooses nothing
                await one.until(lambda: not server.record.with_suffix(".view").exists())

        asyncio.run(wait())
        assert server.record.read_bytes()[pidfiles.VIEWERS_AT :][:8] == bytes(8)


@pytest.mark.long
def test_the_servers_of_gym_service_run_are_seen_by_its_address() -> None:
    with running(sys.executable, "--allow-import", "--pythonpath", ENVS, unix="") as serving, made() as other:
        other.reset()
        kwargs = {"entry_point": "viewed:ViewedEnv", "address": serving.address, "kwargs": MODE}
        with gym_service.make("Viewed-v0", **kwargs) as env, page(serving.address) as shown:
            env.reset(seed=1)

            async def look() -> None:
                async with browser(shown.address) as one:
                    (row,) = one.envs
                    await one.choose(row["key"])
                    await one.until(lambda: one.pictures, lambda: env.step(0))

            asyncio.run(look())


ENTRY = """
[envs."Played-v0"]
entry_point = "viewed:ViewedEnv"
python = {python!r}
pythonpath = [{envs!r}]
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 0, marks=pytest.mark.long)]
)
def test_an_entry_is_played_while_somebody_looks_until_a_signal_comes(tmp_path: Path, number: int, code: int) -> None:
    file = tmp_path / "envs.toml"
    file.write_text(ENTRY.format(python=sys.executable, envs=str(ENVS)), encoding="utf-8")
    with page("Played-v0", "--policy", "zero", "--envs", str(file), "--fps", "50") as shown:

        async def look() -> None:
            async with browser(shown.address) as one:
                (row,) = one.envs
                assert row["name"] == "Played-v0"
                await one.choose(row["key"])
                await one.until(lambda: one.view and one.view["finishedBefore"] + len(one.view["finished"]) > 1)
                assert one.pictures[0].shape == (8, 12, 3)
                assert one.view["facts"]["render_mode"] == "rgb_array"
                shown.process.send_signal(number)
                with pytest.raises(AssertionError, match=r"CLOSE"):
                    await one.until(lambda: False)

        asyncio.run(look())
        assert shown.ended() == code


def test_what_cannot_be_shown_is_refused_with_what_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str) -> str:
        assert cli.main(["view", "--no-browser", *arguments]) == 2
        return capsys.readouterr().err

    monkeypatch.chdir(tmp_path)
    text = "'Nobody-v0' is neither an entry of envs.toml nor one of your running servers on this machine: none"
    assert text in told("Nobody-v0")
    assert "--policy is for an entry of envs.toml" in told("--policy", "zero")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "try: --port 0, a free one" in told("--port", str(taken.getsockname()[1]))
    (tmp_path / "envs.toml").write_text('[envs."Broken-v0"]\npyhton = "3.8"\n', encoding="utf-8")
    assert "pyhton" in told("Broken-v0")
    (tmp_path / "envs.toml").write_text('[envs."Played-v0"]\npython = "3.8"\n', encoding="utf-8")
    assert "is none of random, zero and module:function" in told("Played-v0", "--policy", "best")
    assert "No module named 'no_such_module'" in told("Played-v0", "--policy", "no_such_module:act")
    monkeypatch.delitem(sys.modules, "gym_service.viewer.app")
    monkeypatch.delattr("gym_service.viewer.app")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert 'try: pip install "gym-service[view]"' in told()


@pytest.mark.parametrize(
    ("array", "pixel"),
    [
        (np.full((4, 6, 3), 7, np.uint8), (7, 7, 7)),
        (np.full((4, 6, 4), 7, np.uint8), (7, 7, 7)),
        (np.full((4, 6, 1), 7, np.uint8), 7),
        (np.full((4, 6), 7, np.uint8)[::-1], 7),
        (np.full((4, 6, 3), 1.0, np.float32), (255, 255, 255)),
        (np.full((4, 6, 3), 200.0), (200, 200, 200)),
        (np.linspace(-3.0, 5.0, 24).reshape(4, 6), 0),
        (np.array([[np.nan, np.inf], [1.0, 2.0]]), 0),
        (np.zeros((4, 6), np.uint16), 0),
        (np.ones((4, 6), bool), 0),
    ],
)
def test_every_array_of_numbers_becomes_a_picture(array: np.ndarray, pixel: Any) -> None:
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(encode(array)))
    assert image.format == "PNG"
    assert image.size == (array.shape[1], array.shape[0])
    assert image.getpixel((0, 0)) == pixel
    large = Image.open(io.BytesIO(encode(np.repeat(np.repeat(array, 100, 0), 100, 1))))
    assert large.format == "JPEG"
