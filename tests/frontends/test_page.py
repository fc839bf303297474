"""The server's page in a real browser: files, words, the microphone, the keyboard, small and dark screens, failures.

The browser's microphone plays a clip. Texts are compared with those that the package gives without a server.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sys
import wave
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import srt
import webvtt
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from servers import CLIPS, Server, running

from mlx_canary import load_audio

_MAC = "/Applications/{0}.app/Contents/MacOS/{0}"
_NAMES = ("chromium", "chromium-browser", "google-chrome", _MAC.format("Google Chrome"), _MAC.format("Chromium"))
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: install it (apt install chromium), or say where it is in CHROMIUM"
)

SHORT = CLIPS / "en_kokoro_1.flac"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
QUIET = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
QUIET += " disable-component-update disable-sync use-fake-device-for-media-stream use-fake-ui-for-media-stream"
PATIENCE = 60_000  # ms; the machine may be busy
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several sentences with pauses; the microphone hears them too."""
    parts: list[np.ndarray] = []
    for name in ("en_pico_1", "en_kokoro_2", "en_kokoro_1", "en_pico_1", "en_kokoro_2", "en_kokoro_1", "en_pico_1"):
        parts += [load_audio(CLIPS / f"{name}.flac").samples, np.zeros(12_800, np.float32)]
    return write_wav(tmp_path_factory.mktemp("page") / "talk.wav", np.concatenate(parts))


@pytest.fixture(scope="module")
def browser(talk: Path) -> Iterator[Browser]:
    flags = [*(f"--{flag}" for flag in QUIET.split()), f"--use-file-for-fake-audio-capture={talk}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end nothing may have been asked of anybody but the server, nor broken its own rules."""
    contexts: list[BrowserContext] = []
    asked: list[str] = []
    wrong: list[str] = []

    def opened(url: str = server.url, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": DESK, "locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        context.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url.replace("ws://", "http://")))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: "Security" in message.text and wrong.append(message.text))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong
    assert not [url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:"))]


def write_wav(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def choose(page: Page, path: Path) -> None:
    page.locator("#choose").wait_for()
    page.locator("#file").set_input_files(path)


def await_state(page: Page, state: str) -> None:
    page.locator(f"body[data-state={state}]").wait_for()


def words_on(page: Page) -> list[str]:
    return page.locator(".word").all_inner_texts()


def download(page: Page, format: str) -> str:
    with page.expect_download() as waiting:
        page.locator(f"[data-format={format}]").click()
    assert waiting.value.suggested_filename.endswith(f".{format}")
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def played_from(page: Page) -> float:
    """Where in the recording it was first played, as soon as it was."""
    return page.locator("#audio").evaluate(
        """async (audio) => {
            while (!audio.played.length) await new Promise((resolve) => setTimeout(resolve, 20));
            return audio.played.start(0);
        }"""
    )


def move_to(page: Page, seconds: float) -> None:
    """With the slider, exactly."""
    page.locator("#position").evaluate(
        "(range, at) => { range.step = 'any'; range.value = at; range.dispatchEvent(new Event('input')) }", seconds
    )


def test_a_file_becomes_words_that_can_be_heard(open_page, demo):
    offline = demo.transcribe(SHORT, language="en", timestamps="word")
    page = open_page()
    choose(page, SHORT)
    await_state(page, "done")
    assert words_on(page) == [word.text for word in offline.words]
    page.locator("#player").wait_for()
    page.locator(".word").nth(1).click()
    assert played_from(page) == pytest.approx(offline.words[1].start, abs=0.01)
    assert page.locator("#status").inner_text() == f"{SHORT.name}: done."


def test_the_word_that_is_spoken_lights_up(open_page, demo):
    """Moved by hand, to be exact."""
    offline = demo.transcribe(SHORT, language="en", timestamps="word")
    page = open_page()
    choose(page, SHORT)
    page.locator("#player").wait_for()
    for number, word in enumerate(offline.words):
        move_to(page, (word.start + word.end) / 2)
        expect(page.locator(".word").nth(number)).to_have_attribute("aria-current", "true")
    assert page.locator(".word[aria-current]").count() == 1


def test_a_dropped_file_in_another_language(open_page, demo):
    page = open_page()
    page.locator("#spoken").select_option("de")
    page.locator("#written").select_option(label="English")
    data = base64.b64encode((CLIPS / "de_kokoro_1.flac").read_bytes()).decode()
    page.evaluate(
        """data => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], "talk.flac"));
            window.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
        }""",
        data,
    )
    await_state(page, "done")
    expected = demo.translate(CLIPS / "de_kokoro_1.flac", source_lang="de", timestamps="word")
    assert page.locator("#text").inner_text().split() == expected.text.split()


# Notes all that is shown, the draft apart.
_SEEN = """() => {
    window.seen = [];
    window.drafts = [];
    let enough;
    window.both = new Promise((resolve) => { enough = resolve; });
    const text = document.getElementById("text");
    const look = () => {
        const draft = text.querySelector(".draft")?.textContent ?? "";
        const whole = [...text.querySelectorAll("p")].map((paragraph) => paragraph.textContent).join(" ");
        window.drafts.push(draft);
        window.seen.push(whole.slice(0, whole.length - draft.length));
        if (window.drafts.some(Boolean) && window.seen.some(Boolean)) enough();
    };
    new MutationObserver(look).observe(text, { subtree: true, childList: true, characterData: true });
}"""


def test_text_comes_bit_by_bit_and_can_be_taken_away(open_page, demo, talk):
    """Every format holds the whole text; subtitles fit the screen."""
    offline = demo.transcribe(talk, language="en", timestamps="word")
    page = open_page()
    page.evaluate(_SEEN)
    choose(page, talk)
    await_state(page, "done")
    *growing, whole = dict.fromkeys(page.evaluate("() => window.seen"))
    assert len(growing) > 2
    assert all(offline.text.startswith(text) for text in growing)
    assert whole.split() == offline.text.split()
    assert download(page, "txt").split() == offline.text.split()
    found = json.loads(download(page, "json"))
    assert [(w["word"], w["start"], w["end"]) for w in found["words"]] == [
        (word.text, word.start, word.end) for word in offline.words
    ]
    cues = list(srt.parse(download(page, "srt")))
    captions = webvtt.from_string(download(page, "vtt"))
    assert " ".join(cue.content for cue in cues).split() == offline.text.split()
    assert [caption.text for caption in captions] == [cue.content for cue in cues]
    for cue, following in pairwise(cues):
        assert cue.start < cue.end <= following.start
    assert all(len(line) <= 42 for cue in cues for line in cue.content.splitlines())
    assert all(len(cue.content.splitlines()) <= 2 for cue in cues)


def test_copying(open_page, demo):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    choose(page, SHORT)
    await_state(page, "done")
    page.locator("#copy").click()
    expect(page.locator("#status")).to_have_text("Copied.")
    offline = demo.transcribe(SHORT, language="en", timestamps="word")
    assert page.evaluate("() => navigator.clipboard.readText()").strip() == offline.text


def test_the_keyboard_alone(open_page, demo):
    """Every control is reached by Tab, shows that it is, and has a name; words are one stop."""
    page = open_page()
    # The browser is told to leave choosing to the test, and must know it before the key is pressed.
    page.on("filechooser", lambda _: None)
    page.locator("#choose").wait_for()
    focus(page, "choose")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(SHORT)
    await_state(page, "done")
    page.locator("#player").wait_for()
    page.locator("#choose").focus()
    stops = [focused(page) for _ in range(12) if page.keyboard.press("Tab") is None]
    assert {"spoken", "written", "word", "play", "position", "speak", "copy", "txt", "srt", "vtt", "json"} <= set(stops)
    assert stops.count("word") == 1
    focus(page, "word")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    second = demo.transcribe(SHORT, language="en", timestamps="word").words[1]
    assert played_from(page) == pytest.approx(second.start, abs=0.01)
    assert page.locator(".word").nth(1).evaluate("word => word === document.activeElement")
    page.keyboard.press("End")
    assert page.locator(".word").last.evaluate("word => word === document.activeElement")


def focus(page: Page, name: str) -> None:
    """Go there by Tab."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if focused(page) == name:
            return
    raise AssertionError(f"{name} cannot be reached")


def focused(page: Page) -> str:
    """The name of what has the focus, which has to show it."""
    here = page.locator(":focus")
    if here.count() == 0:
        return ""
    assert here.evaluate("e => getComputedStyle(e).outlineStyle") != "none"
    return here.evaluate("e => e.dataset.format || (e.classList.contains('word') ? 'word' : e.id)")


def test_the_microphone(open_page, demo):
    """What the server was sent is 16 kHz; its text is that of a stream, and every sentence can be heard."""
    page = open_page()
    sent: list[dict[str, Any]] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(json.loads(frame))))
    page.evaluate(_SEEN)
    page.locator("#speak").click()
    await_state(page, "listening")
    page.evaluate("() => window.both")  # the clip is played again and again until there was a draft and a fixed text
    assert page.locator(".draft").evaluate("e => getComputedStyle(e).color !== getComputedStyle(e.parentNode).color")
    page.locator("#stop").click()
    await_state(page, "done")
    blocks = [base64.b64decode(event["audio"]) for event in sent if event["type"].endswith("append")]
    assert all(len(block) <= 3200 for block in blocks)
    heard = np.frombuffer(b"".join(blocks), "<i2").astype(np.float32) / 32768
    with demo.stream(language="en") as stream:
        stream.add_audio(heard)
    said = stream.finish()
    assert page.locator("#text").inner_text().split() == said.text.split()
    assert " ".join(cue.content for cue in srt.parse(download(page, "srt"))).split() == said.text.split()
    page.locator(".word").first.click()
    assert played_from(page) == pytest.approx(said.segments[0].start, abs=0.01)
    seconds = page.locator("#audio").evaluate("audio => audio.duration")
    assert seconds == pytest.approx(len(heard) / 16_000)


def test_nobody_has_to_wait_for_a_server_that_lags(open_page, server):
    """After Stop there was no way out but to leave the page."""
    page = open_page()
    page.locator("#speak").click()
    await_state(page, "listening")
    server.process.send_signal(signal.SIGSTOP)
    try:
        page.keyboard.press("Escape")
        await_state(page, "finishing")
        page.keyboard.press("Escape")
        expect(page.locator("#status")).to_have_text("Cancelled.")
        expect(page.locator("#takeaway")).to_be_hidden()
        expect(page.locator("#speak")).to_be_enabled()
    finally:
        server.process.send_signal(signal.SIGCONT)


_SLOW_AUDIO = """() => {
    const add = AudioWorklet.prototype.addModule;
    AudioWorklet.prototype.addModule = async function (...given) {
        await new Promise((resolve) => setTimeout(resolve, 3000));
        return add.apply(this, given);
    };
    document.querySelector("#spoken option:checked").value = "ja";
}"""


def test_what_the_server_says_before_the_microphone_is_ready(open_page):
    """Its reason was followed by another error, about what had been closed because of it."""
    page = open_page()
    await_state(page, "idle")
    page.evaluate(_SLOW_AUDIO)
    page.locator("#speak").click()
    expect(page.get_by_role("alert")).to_contain_text("does not know the spoken language 'ja'")
    page.wait_for_timeout(4000)
    expect(page.get_by_role("alert")).to_contain_text("does not know the spoken language 'ja'")
    assert page.evaluate("document.body.dataset.state") == "idle"


_TONE = """async ([rate, frequency]) => {
    const context = new OfflineAudioContext(2, rate, rate);
    await context.audioWorklet.addModule("microphone-worklet.js");
    const tone = new OscillatorNode(context, { frequency });
    const worklet = new AudioWorkletNode(context, "microphone");
    const samples = [];
    worklet.port.onmessage = ({ data }) => samples.push(...data.samples);
    tone.connect(worklet).connect(context.destination);
    tone.start();
    await context.startRendering();
    worklet.port.postMessage("rest");
    while (!samples.length) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 50));
    return samples;
}"""


def test_sound_is_resampled_cleanly(open_page):
    """A tone stays what it is; one that 16 kHz cannot hold is gone, not folded to another place."""
    page = open_page()
    for rate in (44_100, 48_000, 8_000):
        low = np.array(page.evaluate(_TONE, [rate, 1000])) / 32768
        assert len(low) == pytest.approx(16_000, abs=400)  # whole blocks of the browser's
        spectrum = np.abs(np.fft.rfft(low[2000:10_000] * np.hanning(8000))) / 2000
        assert spectrum.argmax() == 500  # bins of 2 Hz
        assert spectrum.max() == pytest.approx(1, abs=0.02)
        assert np.delete(spectrum, range(490, 511)).max() < 1e-3
        if rate > 16_000:
            high = np.array(page.evaluate(_TONE, [rate, 11_000])) / 32768
            assert np.abs(high[2000:10_000]).max() < 1e-3


_CONTRAST = """elements => elements.filter((e) => e.checkVisibility() && [...e.childNodes].some(
    (n) => n.nodeType === 3 && n.data.trim())).map((e) => {
    let behind = e;
    while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    return [e.id || e.className || e.tagName, getComputedStyle(e).color, getComputedStyle(behind).backgroundColor];
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_light_and_dark(open_page, scheme, tmp_path):
    """Nothing is wider than 360 px, everything is high enough for a thumb, and text has WCAG AA's contrast."""
    page = open_page(viewport=PHONE, color_scheme=scheme)
    choose(page, write_wav(tmp_path / "silent.wav", np.zeros(16_000)))
    choose(page, tmp_path / "silent.wav")
    await_state(page, "done")
    assert "nothing was heard" in page.locator("#status").inner_text()
    choose(page, SHORT)
    page.locator(".word").first.wait_for()
    page.locator("#player").wait_for()
    move_to(page, 0.3)
    page.locator(".word[aria-current]").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate("() => document.documentElement.scrollHeight") <= PHONE["height"]
    for control in page.locator("button:visible, select:visible, input:visible").all():
        assert control.bounding_box()["height"] >= 44
    dark = luminance(page.evaluate("() => getComputedStyle(document.body).backgroundColor")) < 0.05
    assert dark == (scheme == "dark")
    pairs = page.locator("body *").evaluate_all(_CONTRAST)
    assert len(pairs) > 10
    for name, text, behind in pairs:
        assert contrast(text, behind) >= 4.5, name


def luminance(colour: str) -> float:
    """WCAG's, of "rgb(1, 2, 3)"."""
    values = [int(float(value)) / 255 for value in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_less_motion_for_those_who_want_less(open_page):
    page = open_page(reduced_motion="reduce")
    assert page.locator("footer").evaluate("e => getComputedStyle(e).animationName") == "none"


def test_failures_are_one_sentence(open_page, tmp_path):
    page = open_page()
    (tmp_path / "notes.txt").write_text("no sound at all")
    choose(page, tmp_path / "notes.txt")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("is not a sound or video file")
    page.route("**/v1/audio/transcriptions", lambda route: route.abort())
    choose(page, SHORT)
    expect(problem).to_have_text("The server does not answer. Is it still running?")
    page.unroute("**/v1/audio/transcriptions")
    choose(page, SHORT)
    await_state(page, "done")
    expect(problem).to_be_hidden()


def test_a_running_request_is_cancelled(open_page, tmp_path):
    """The text so far stays to be read, and the server turns to the next request."""
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 600)
    page = open_page()
    with page.expect_event("requestfailed", lambda request: "transcriptions" in request.url):
        choose(page, write_wav(tmp_path / "long.wav", noise.clip(-1, 1)))
        await_state(page, "working")
        page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Cancelled.")
    expect(page.locator("#takeaway")).to_be_hidden()
    choose(page, SHORT)
    expect(page.locator("#status")).to_have_text(f"{SHORT.name}: done.")


def test_a_key_is_asked_for_and_sent_with_everything(open_page):
    with running(MLX_CANARY_API_KEY="secret") as guarded:
        page = open_page(guarded.url)
        key = page.get_by_label("API key")
        key.wait_for()
        assert page.locator("#choose").is_hidden()
        for given in ("wrong", "secret"):
            key.fill(given)
            page.keyboard.press("Enter")
            if given == "wrong":
                expect(page.get_by_role("alert")).to_have_text("The API key is wrong.")
        choose(page, SHORT)
        await_state(page, "done")
        page.locator("#speak").click()
        await_state(page, "listening")
        page.locator("#stop").click()
        await_state(page, "done")
        expect(page.get_by_role("alert")).to_be_hidden()
