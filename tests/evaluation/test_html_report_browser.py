"""The page of a report in a real browser: it loads without a complaint, plays, and can be used by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from speechbrain_dynsnet.audio.enhancement import Settings
from speechbrain_dynsnet.evaluation import excerpt_scores
from speechbrain_dynsnet.evaluation.excerpt_scores import Scored
from speechbrain_dynsnet.evaluation.html_report import ReportedFile, write_report
from tests.browser import PROGRAM, Browser, browse
from tests.evaluation.reported import make_file, noise

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")

BAD_NAME = "\"><script>document.title = 'bad'</script>\n'.wav".replace("/", "_")
DURATIONS = """Promise.all([...document.querySelectorAll("audio")].map((player) => new Promise((resolve, reject) => {
    const tell = () => resolve(player.duration);
    player.addEventListener("error", () => reject(player.error.message));
    player.readyState > 0 ? tell() : player.addEventListener("loadedmetadata", tell);
})))"""
PLAYING = '[...document.querySelectorAll("audio")].map((player) => !player.paused)'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[ReportedFile]:
    folder = tmp_path_factory.mktemp("recordings")
    return [
        make_file(folder, "short.wav", noise(1.234)),
        make_file(folder, "long.wav", noise(32, 8000), 8000),
        make_file(folder, "stereo.wav", noise(2.5, 44100, 2), 44100, subtype="PCM_24"),
        make_file(folder, "fast.wav", noise(1, 384000), 384000),
        make_file(folder, "slow.wav", noise(3, 4000), 4000),
        make_file(folder, "many channels.wav", noise(1, 48000, 32), 48000),
        make_file(folder, "one sample.wav", noise(1)[:1]),
        make_file(folder, BAD_NAME, noise(2)),
    ]


@pytest.fixture(scope="module")
def page(files: list[ReportedFile], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "a page?#.html"
    scored = Scored((1.0, 2.0, 3.0, 4.0), (1.5, 2.5, 3.5, 4.5))
    with pytest.MonkeyPatch.context() as patch:  # DNSMOS itself takes longer than all of this
        patch.setattr(excerpt_scores, "score_excerpts", lambda pairs, jobs: [scored] * len(pairs))
        write_report(files, path, model_name="known", settings=Settings(), dnsmos=True)
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browse(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(running: Browser, page: Path) -> Browser:
    """At the page, loaded anew."""
    running.open(page)
    return running


def test_it_loads_without_a_complaint_and_asks_for_nothing_else(browser: Browser, page: Path) -> None:
    browser.run(DURATIONS)
    assert browser.complaints == []
    assert {request for request in browser.requests if not request.startswith("data:")} == {page.as_uri()[:100]}
    assert browser.run("document.title") == "8 enhanced files"


def test_players_have_the_durations_of_what_they_play(browser: Browser, files: list[ReportedFile]) -> None:
    durations = browser.run(DURATIONS)
    expected = [min(file.facts.seconds, 30.0) for file in files for _ in range(2)]
    assert durations == pytest.approx(expected, abs=1e-3)


def test_pictures_have_a_size(browser: Browser, files: list[ReportedFile]) -> None:
    sizes = browser.run(
        "[...document.images].map((one) => [one.naturalWidth, one.naturalHeight, one.width, one.height])"
    )
    assert len(sizes) == 3 * len(files)
    for natural_width, natural_height, width, height in sizes:
        assert natural_width >= 1 and 65 <= natural_height <= 320
        assert width > 200 and height > 100


def test_names_are_text(browser: Browser, files: list[ReportedFile]) -> None:
    shown = browser.run('document.querySelector("section:last-of-type h2").textContent')
    assert shown == files[-1].noisy.name.replace("\n", "\\n")


@pytest.mark.parametrize(("clicks", "playing"), [(1, 3), (2, 2), (3, 3)])
def test_the_button_goes_on_in_the_other_at_the_same_place(clicks: int, playing: int, browser: Browser) -> None:
    browser.run(DURATIONS)
    seek = """new Promise((done) => {
        const [before] = document.querySelectorAll("section")[1].querySelectorAll("audio");
        before.addEventListener("seeked", () => done());
        before.currentTime = 10;
    })"""
    press = "document.querySelectorAll('section button')[1].click();"
    browser.run(seek)
    browser.run(f"""new Promise((done) => {{
        const player = document.querySelectorAll("audio")[{playing}];
        player.addEventListener("timeupdate", () => {{ if (player.currentTime > 10) done(); }});
        {press * clicks}
    }})""")
    assert [number for number, is_playing in enumerate(browser.run(PLAYING)) if is_playing] == [playing]
    assert 10 < browser.run(f'document.querySelectorAll("audio")[{playing}].currentTime') < 15
    place = browser.run('getComputedStyle(document.querySelectorAll("section")[1]).getPropertyValue("--at")')
    assert 10 / 30 <= float(place) < 15 / 30
    assert browser.complaints == []


def test_starting_one_player_stops_the_others(browser: Browser) -> None:
    browser.run(DURATIONS)
    for index in (2, 7):
        browser.run(f'document.querySelectorAll("audio")[{index}].play()')
        assert [number for number, is_playing in enumerate(browser.run(PLAYING)) if is_playing] == [index]


def test_everything_is_reached_by_keyboard(browser: Browser, files: list[ReportedFile]) -> None:
    reached = []
    for _ in range(3 + len(files)):
        browser.press("Tab")
        reached.append(browser.run("document.activeElement.tagName"))
    assert reached[: 1 + len(files)] == ["DIV", *["A"] * len(files)]  # the table, which scrolls, and its links
    assert reached[1 + len(files)] == "AUDIO"
    browser.run('document.querySelectorAll("section button")[1].focus()')
    browser.press("Enter")
    assert browser.run(PLAYING)[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_can_be_read_in_any_scheme_and_width(scheme: str, width: int, browser: Browser, tmp_path: Path) -> None:
    browser.prefer(scheme, width)
    colour = browser.run("getComputedStyle(document.body).color")
    assert colour == ("rgb(0, 0, 0)" if scheme == "light" else "rgb(255, 255, 255)")
    assert browser.run("document.documentElement.scrollWidth") <= width  # only the tables scroll to the side
    browser.photograph(tmp_path / "page.png", whole=False)
    background = Image.open(tmp_path / "page.png").convert("L").getpixel((2, 2))
    assert isinstance(background, int)
    assert background > 200 if scheme == "light" else background < 55
