"""What the tests wait for is tried until it passes, and fails as it does when time is up."""

import pytest
from lws_kueue_lab.sandbox import client

from tests.kit import polling


class Check:
    """Fails as it is told, and passes then."""

    def __init__(self, *faults: BaseException) -> None:
        self.faults = list(faults)

    def __call__(self) -> str:
        if self.faults:
            raise self.faults.pop(0)
        return "passed"


def answer(status: int) -> client.ApiError:
    return client.ApiError(status=status)


def test_a_check_is_tried_until_it_passes() -> None:
    check = Check(AssertionError(), KeyError("x"), answer(404))
    assert polling.trying(every=0)(check) == "passed"


def test_a_check_that_never_passes_fails_as_itself() -> None:
    with pytest.raises(AssertionError, match="the last one"):
        polling.trying(timeout=0, every=0)(Check(AssertionError("the last one")))


@pytest.mark.parametrize("fault", [answer(403), ValueError()], ids=["refused", "broken"])
def test_what_no_waiting_mends_fails_at_once(fault: Exception) -> None:
    check = Check(fault)
    with pytest.raises(type(fault)):
        polling.trying(every=0)(check)
