"""Values are spelled as in Go: what it takes is taken, and nothing else."""

import pytest

from lws_kueue.manager.settings import go_values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("2.s", 2.0),
        ("100ms", 0.1),
        ("7us", 7e-6),
        ("7µs", 7e-6),
        ("3ns", 3e-9),
        ("+1s", 1.0),
        ("-1m1s", -61.0),
        ("0", 0.0),
        ("0s", 0.0),
        ("-0", 0.0),
    ],
)
def test_a_duration_of_go_is_read(text: str, seconds: float) -> None:
    assert go_values.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "15", "s", ".s", "1d", "1w", "1 s", "1s 2s", "1s,2s", "1S", "--1s", "+", "00x", "1.2.3s"],
)
def test_what_go_does_not_take_as_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        go_values.duration(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [(t, True) for t in ("1", "t", "T", "true", "TRUE", "True")]
    + [(t, False) for t in ("0", "f", "F", "false", "FALSE", "False")],
)
def test_truth_values_are_those_of_go(text: str, value: bool) -> None:
    assert go_values.boolean(text) is value


@pytest.mark.parametrize("text", ["yes", "no", "on", "tRUE", "2", ""])
def test_other_truth_values_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        go_values.boolean(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8443", None, 8443),
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("localhost:8081", "localhost", 8081),
        ("[::1]:8443", "::1", 8443),
        (":0", None, 0),
    ],
)
def test_an_address_has_a_port_and_perhaps_a_host(text: str, host: str | None, port: int) -> None:
    found = go_values.address(text)
    assert found == go_values.Address(host=host, port=port)
    assert str(found) == text


def test_the_address_0_is_no_server() -> None:
    assert go_values.address("0") is None


@pytest.mark.parametrize("text", ["", "8443", "::1:8443", ":65536", ":-1", ":http", "host", ":٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        go_values.address(text)
