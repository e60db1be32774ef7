"""Fixtures that the tests of the transport share."""

from collections.abc import Iterator

import pytest
from support.arena_ends import Ends, two_ends


@pytest.fixture
def ends() -> Iterator[Ends]:
    lender, borrower = two_ends()
    yield lender, borrower
    lender.close()
    borrower.close()
