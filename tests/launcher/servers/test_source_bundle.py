"""What a command sends to the other side."""

from pathlib import PurePath

import pytest
from gym_service_launcher.servers import source_bundle


def test_what_only_this_machine_uses_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {PurePath(path).name for path in source_bundle.sources()}
    assert not sent & source_bundle.ONLY_HERE
    only_here = source_bundle.ONLY_HERE
    monkeypatch.setattr(source_bundle, "ONLY_HERE", set())
    assert {PurePath(path).name for path in source_bundle.sources()} == sent | only_here
