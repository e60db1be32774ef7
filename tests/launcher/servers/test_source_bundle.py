"""What a command sends to the other side."""

from pathlib import PurePath

from gym_service_launcher.servers import source_bundle
from support.paths import REPOSITORY


def test_what_only_this_machine_uses_stays_here() -> None:
    sent = {PurePath(path).name for path in source_bundle.sources()}
    assert not sent & source_bundle.ONLY_HERE
    folders = REPOSITORY / "gym_service/server", REPOSITORY / "launcher/gym_service_launcher/standalone"
    assert {path.name for folder in folders for path in folder.glob("*.py")} >= source_bundle.ONLY_HERE
