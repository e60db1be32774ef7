"""Images as JPEG: close to the original if it is an image; any other array bit for bit."""

from typing import Any

import numpy as np
import pytest
from support.image_frames import Link, noise, picture

from gym_service.protocol.values import BadValue
from gym_service.transport import image_codec, jpeg


@pytest.mark.parametrize("shape", [(64, 96, 3), (3, 64, 96, 3), (2, 2, 40, 40, 3), (64, 64, 3)])
def test_jpeg_gives_nearly_the_picture(shape: tuple[int, ...]) -> None:
    sent = (np.indices(shape)[-3] * 2 + np.indices(shape)[-2]).astype(np.uint8)  # smooth, so JPEG loses little
    link = Link("jpeg:90")
    (arrived,) = link.cross(sent)
    off = np.abs(arrived.astype(int) - sent)
    assert 0 < off.max() < 24
    assert off.mean() < 3
    assert arrived.flags.writeable
    assert link.sent[-1] < sent.nbytes / 3


@pytest.mark.parametrize("shape", [(96, 128), (96, 128, 1), (96, 96, 4), (3, 96, 96), (4, 15, 96, 3)])
def test_what_is_no_colour_picture_stays_exact_under_jpeg(shape: tuple[int, ...]) -> None:
    sent = picture(shape=shape)
    assert np.array_equal(Link("jpeg:50").cross(sent)[0], sent)


def test_a_better_quality_is_a_larger_file() -> None:
    sizes = []
    for quality in (1, 50, 100):
        link = Link(f"jpeg:{quality}")
        link.cross(noise())
        sizes.append(link.sent[-1])
    assert sizes[0] < sizes[1] < sizes[2]


def test_jpeg_takes_no_side_that_a_file_cannot_say() -> None:
    assert jpeg.takes(np.zeros((16, 65500, 3), np.uint8))
    assert not jpeg.takes(np.zeros((16, 65501, 3), np.uint8))


@pytest.mark.parametrize(
    "frames", ["", "jpg", "jpeg", "jpeg:0", "jpeg:101", "jpeg:09", "ZLIB", "raw ", None, 3, ["raw"]]
)
def test_a_choice_that_is_none_is_refused(frames: Any) -> None:
    with pytest.raises(BadValue, match="is not one of raw, zlib, auto"):
        image_codec.encoder_for(frames)


def test_only_the_lossy_choice_is_shown_as_that() -> None:
    assert [image_codec.shown(frames) for frames in ("raw", "zlib", "auto", "jpeg:90")] == [
        "raw",
        "zlib",
        "auto",
        "jpeg:90 (lossy)",
    ]
    assert image_codec.encoder_for("raw") is None
