"""The page in a browser: what it shows, that it follows, and what it says when nobody answers.

With LWS_KUEUE_RECORD_SCREENS=1 the text of the page and its picture in the document are written
anew; of these two the text is compared, because no two browsers draw the same.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from lws_kueue.kubectl.dashboard import command, serving
from lws_kueue.kubectl.options import Where
from lws_kueue.runtime import resources
from tests.kubectl import server as servers
from tests.kubectl import test_screens as screens

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
KEPT = Path(__file__).parent / "pages" / "dashboard.txt"
PICTURE = Path(__file__).parents[2] / "docs" / "kubectl-dashboard.png"
TIMEOUT = 60.0

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the PATH"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    # In a container there is neither a user to fall back to nor much of /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.add_argument("--window-size=1280,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield made
    made.quit()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Server]:
    with servers.of(screens.half_admitted(), tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def url(server: servers.Server) -> Iterator[str]:
    connected, namespace = Where(None, None).connect()
    with serving.serving(serving.Pages(command.answering(connected, namespace=namespace))) as found:
        yield found


def shows(browser: webdriver.Chrome, element: str, *texts: str) -> str:
    """Wait until an element shows all of these texts; returns what it shows."""

    def is_shown(_: Any) -> str:
        text = browser.find_element(By.ID, element).text
        return text if all(part in text for part in texts) else ""

    return str(
        WebDriverWait(browser, TIMEOUT, ignored_exceptions=[Exception]).until(
            is_shown, f"{element} never shows {texts}"
        )
    )


def classes(browser: webdriver.Chrome, selector: str) -> list[str]:
    found = browser.find_elements(By.CSS_SELECTOR, selector)
    return [str(one.get_attribute("class")).split()[1] for one in found]


def test_the_page_shows_groups_ranks_racks_queues_and_why(
    browser: webdriver.Chrome, url: str
) -> None:
    browser.get(url)
    shows(browser, "state", "as of")
    shows(browser, "set", "default/demo")
    assert classes(browser, "#set .rank") == ["ready"] * 6 + ["held"] * 3
    assert classes(browser, "#places .rank") == ["ready"] * 6 + ["held"] * 3
    (meter,) = browser.find_elements(By.CSS_SELECTOR, "#queues meter")
    assert (meter.get_attribute("value"), meter.get_attribute("max")) == ("1", "1")
    text = "\n".join(
        browser.find_element(By.ID, part).text
        for part in ("sets", "set", "whatif", "places", "queues")
    )
    if os.environ.get("LWS_KUEUE_RECORD_SCREENS"):
        KEPT.write_text(f"{text}\n")
        PICTURE.write_bytes(browser.get_screenshot_as_png())
    assert f"{text}\n" == KEPT.read_text()
    log = browser.get_log("browser")  # type: ignore[no-untyped-call]
    assert not [one for one in log if one["level"] == "SEVERE"]


def test_the_page_follows_what_changes_and_the_set_that_is_chosen(
    browser: webdriver.Chrome, url: str, server: servers.Server
) -> None:
    (own,) = server.objects[resources.SETS]
    named = {**own["metadata"], "name": "beside", "uid": "beside"}
    browser.get(url)
    shows(browser, "set", "default/demo")
    server.objects[resources.SETS].append({**own, "metadata": named})
    shows(browser, "sets", "default/beside")
    server.objects[resources.CLUSTER_QUEUES][0]["status"]["pendingWorkloads"] = 41
    shows(browser, "queues", "41 pending")
    next(
        one
        for one in browser.find_elements(By.CSS_SELECTOR, "#sets a")
        if one.text == "default/beside"
    ).click()
    shows(browser, "set", "default/beside")
    browser.back()
    shows(browser, "set", "default/demo")


def slide(browser: webdriver.Chrome, *pressed: str) -> None:
    slider = browser.find_element(By.ID, "replicas")
    slider.send_keys(*pressed)


def test_the_slider_asks_what_if_and_another_set_forgets_it(
    browser: webdriver.Chrome, url: str, server: servers.Server
) -> None:
    browser.get("about:blank")
    browser.get(url)
    shows(browser, "whatif", "Nothing is written")
    slider = browser.find_element(By.ID, "replicas")
    assert (slider.get_attribute("value"), slider.get_attribute("max")) == ("3", "10")
    slide(browser, Keys.ARROW_RIGHT)
    text = shows(browser, "whatif", "2 of 4 groups would have quota", "1500m cpu in default")
    assert "Not modelled" in text
    assert "replicas=4" in browser.current_url
    slide(browser, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    shows(browser, "whatif", "2 of 2 groups would have quota", "gone")
    # It is asked again with each picture, and the slider stays where it is.
    server.objects[resources.CLUSTER_QUEUES][0]["status"]["pendingWorkloads"] = 43
    shows(browser, "queues", "43 pending")
    assert slider.get_attribute("value") == "2"
    slide(browser, Keys.ARROW_RIGHT)
    shows(browser, "whatif", "Nothing is written")
    assert "replicas" not in browser.current_url
    slide(browser, Keys.ARROW_RIGHT)
    shows(browser, "whatif", "of 4 groups would have quota")
    browser.find_element(By.CSS_SELECTOR, "#sets a").click()
    shows(browser, "whatif", "Nothing is written")
    assert server.patches == []


def test_what_a_cluster_says_is_shown_as_text_and_not_run(
    browser: webdriver.Chrome, url: str, server: servers.Server
) -> None:
    trap = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    for one in server.objects[resources.WORKLOADS]:
        for condition in one["status"].get("conditions", ()):
            condition["message"] = trap
    browser.get(url)
    shows(browser, "set", trap)
    assert browser.title == "LeaderWorkerSets"


def test_a_page_without_the_token_and_one_that_nobody_answers_say_so(
    browser: webdriver.Chrome, server: servers.Server
) -> None:
    connected, namespace = Where(None, None).connect()
    pages = serving.Pages(command.answering(connected, namespace=namespace))
    with serving.serving(pages) as url:
        # Another document, because a new fragment alone loads nothing.
        browser.get("about:blank")
        browser.get(url.partition("#")[0])
        shows(browser, "state", "open the URL that the command has printed")
        browser.get("about:blank")
        browser.get(url)
        shows(browser, "set", "default/demo")
        server.forbidden = {"leaderworkersets"}
        shows(browser, "state", "lws-kueue-kubectl-viewer")
        assert "default/demo" in browser.find_element(By.ID, "set").text, "what was known stays"
    shows(browser, "state", "kubectl lws dashboard has ended")
