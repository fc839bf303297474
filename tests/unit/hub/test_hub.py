"""Models from the hub: downloaded once, converted once, and every way in which that can fail.

The hub is a small server on loopback, and the model a small checkpoint that NeMo wrote.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_hub import DATA, NEMO, FakeHub, endpoint, visible
from huggingface_hub import constants

from mlx_canary import CanaryModel, ConversionConfig, ConversionError, ModelNotFoundError, convert
from mlx_canary.hub import fetch as fetch_module
from mlx_canary.hub.cache import cached_models, find, n_bytes, unfinished
from mlx_canary.hub.fetch import fetch
from mlx_canary.hub.names import HubModel
from mlx_canary.load_models import load_model, locate
from mlx_canary.mcp_server.worker import Worker

pytest_plugins = ["hub_fixtures"]

FLASH = HubModel("nvidia/canary-180m-flash")
FOLDER = "nvidia--canary-180m-flash"
ENCODER_ONLY = {"config.json": b'{"model_type": "fastconformer"}', "model.safetensors": b"the encoder alone"}
# A download that is interrupted loses at most one block and what the client holds back.
BLOCK = 1 << 18


class Told:
    """A progress callback that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        self.calls.append((what, done, total))

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(what.split()[0] for what, _, _ in self.calls))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a converted model, as somebody would upload them."""
    folder = tmp_path_factory.mktemp("converted") / "model"
    convert(ConversionConfig(nemo_file=DATA / "models/canary2-flash.nemo", output_dir=folder))
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    """Run code in a process of its own, which inherits the caches and the hub of the test."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_downloaded_and_converted_once(hub: FakeHub, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second load asks nobody anything: the hub may be gone."""
    told = Told()
    first = load_model("canary-180m-flash", told)
    assert told.stages == ["Downloading", "Checking", "Converting"]
    assert all(done <= total for _, done, total in told.calls)
    assert told.calls[-1][1] == told.calls[-1][2]
    n_requests = len(hub.requests)
    monkeypatch.setattr(fetch_module, "convert", None)
    endpoint(monkeypatch, "http://127.0.0.1:9")
    second = load_model("canary-180m-flash", told_again := Told())
    assert locate("nvidia/canary-180m-flash") == caches / "ours" / FOLDER
    assert first.config == second.config
    assert len(hub.requests) == n_requests
    assert not told_again.calls


def test_the_download_is_not_kept(hub: FakeHub, caches: Path) -> None:
    """After the conversion the .nemo is of no more use, and the hub's own cache was never touched."""
    fetch(FLASH)
    assert visible(caches / "ours") == [FOLDER]
    assert not list((caches / "ours").rglob("*.nemo*"))
    assert not unfinished()
    assert not (caches / "hf").exists()


def test_found_offline(hub: FakeHub, caches: Path) -> None:
    """With HF_HUB_OFFLINE and nobody to ask, in a process of its own that never heard of the hub."""
    fetch(FLASH)
    code = (
        "import sys; from mlx_canary import CanaryModel\n"
        "print(CanaryModel.from_pretrained('canary-180m-flash').config.name, 'huggingface_hub' in sys.modules)"
    )
    process = python(code, HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    out, errors = process.communicate(timeout=60)
    assert (out, errors) == ("canary-180m-flash False\n", "")


def test_a_revision_is_a_model_of_its_own(hub: FakeHub, caches: Path) -> None:
    hub.repositories["nvidia/canary-180m-flash"].revisions = ("main", "refs/pr/1")
    fetch(FLASH)
    path = locate("canary-180m-flash@refs/pr/1")
    assert visible(caches / "ours") == [FOLDER, f"{FOLDER}@refs%2Fpr%2F1"] == [FOLDER, path.name]
    assert any("/revision/refs%2Fpr%2F1" in request.path for request in hub.requests)
    assert [str(cached.model) for cached in cached_models()] == [str(FLASH), f"{FLASH}@refs/pr/1"]


def test_a_broken_connection_is_renewed(hub: FakeHub) -> None:
    """The server ends half-way, twice; the rest is asked for, not the whole."""
    hub.cuts = [len(NEMO) // 2, len(NEMO) // 4]
    fetch(FLASH)
    first, second, third = hub.bodies
    assert first.start == 0 < second.start < third.start
    assert sum(request.n_sent for request in hub.bodies) <= len(NEMO) + 2 * BLOCK


def test_an_interrupted_download_goes_on_in_the_next_process(hub: FakeHub, caches: Path) -> None:
    """Killed half-way. huggingface_hub 2 alone would begin again."""
    code = (
        "import os; from mlx_canary.load_models import load_model\n"
        "def stop(what, done, total):\n"
        f"    if done > {len(NEMO) // 2}: os.kill(os.getpid(), 9)\n"
        "load_model('canary-180m-flash', stop)"
    )
    process = python(code)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert find(FLASH) is None
    assert len(NEMO) // 2 - BLOCK <= sum(map(n_bytes, unfinished())) < len(NEMO)
    told = Told()
    fetch(FLASH, told)
    assert hub.bodies[-1].start >= len(NEMO) // 2 - BLOCK
    assert told.calls[0][1] > len(NEMO) // 2 - BLOCK, "progress begins where the download does"


def test_a_download_that_stops_for_good_says_that_it_can_go_on(hub: FakeHub) -> None:
    hub.cuts = [len(NEMO) // 2, 0, 0]
    with pytest.raises(ModelNotFoundError, match=r"cannot be downloaded.*The same command goes on where it stopped\.$"):
        fetch(FLASH)
    hub.cuts = []
    fetch(FLASH)
    assert hub.bodies[-1].start > 0


def test_a_server_without_ranges_sends_all_again(hub: FakeHub) -> None:
    """An answer that begins at the start must not be put behind what is there."""
    hub.ranges, hub.cuts = False, [len(NEMO) // 2]
    fetch(FLASH)
    assert find(FLASH) is not None
    assert [request.n_sent for request in hub.bodies] == [len(NEMO) // 2, len(NEMO)]


def test_damage_is_noticed(hub: FakeHub) -> None:
    """The bytes must have the checksum that the hub tells; damaged ones are not resumed."""
    hub.damage = True
    with pytest.raises(ModelNotFoundError, match=r"canary-180m-flash\.nemo .*damaged on its way.*checksum.*Try again"):
        fetch(FLASH)
    hub.damage = False
    fetch(FLASH)
    assert hub.bodies[-1].start == 0


def test_more_bytes_than_the_hub_said_are_not_kept(hub: FakeHub) -> None:
    """All that was sent was written: there was room for what was said, and a server could fill the disk."""
    hub.excess, told = 16 << 20, Told()
    with pytest.raises(ModelNotFoundError, match=r"damaged on its way: it has .* bytes instead of"):
        fetch(FLASH, told)
    assert max(done for _, done, _ in told.calls) <= len(NEMO) + BLOCK


def test_the_login_goes_to_the_hub_alone(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files lie on other hosts, which are not to see it."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(FLASH)
    asked = [request for request in hub.requests if "canary" in request.path]
    assert len(asked) == 3
    assert {request.login for request in asked} == {"Bearer hf_secret"}
    assert {request.login for request in hub.bodies} == {None}


def test_encoder_only_safetensors_are_ignored(hub: FakeHub) -> None:
    """As in canary-1b-flash, and in exports for other libraries: the config.json is not ours, so the .nemo is taken."""
    hub.add("nvidia/canary-1b-flash", {**ENCODER_ONLY, "canary-1b-flash.nemo": NEMO})
    model = load_model("canary-1b-flash")
    assert model.config.source.file == "canary-1b-flash.nemo"
    assert len(hub.bodies) == 1


def test_a_converted_model_is_used_as_it_is(
    hub: FakeHub, caches: Path, converted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a .nemo lies beside it. Other files of the repository are left there."""
    strangers = {
        "run_me.py": b"",
        "tokenizers/run_me.py": b"",
        "onnx/model.onnx": b"",
        "tokenizers": b"",
        "x.nemo": NEMO,
    }
    hub.add("somebody/canary-mlx", {**converted, **strangers})
    monkeypatch.setattr(fetch_module, "convert", None)
    model = load_model("somebody/canary-mlx")
    assert model.config.name == "canary2-flash"
    folder = caches / "ours/somebody--canary-mlx"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(converted)
    endpoint(monkeypatch, "http://127.0.0.1:9")
    assert locate("somebody/canary-mlx") == folder


def test_a_converted_model_of_another_version(hub: FakeHub, converted: dict[str, bytes]) -> None:
    """Refused by name, unless its .nemo lies beside it."""
    config = json.dumps({**json.loads(converted["config.json"]), "format_version": 99}).encode()
    files = {**converted, "config.json": config}
    hub.add("somebody/canary-mlx", files)
    with pytest.raises(ModelNotFoundError, match="format_version 99, and this version reads 1"):
        fetch(HubModel("somebody/canary-mlx"))
    hub.add("somebody/canary-mlx", {**files, "original/x.nemo": NEMO})
    assert load_model("somebody/canary-mlx").config.source.file == "x.nemo"


def test_the_nemo_with_the_name_of_the_repository_is_taken(hub: FakeHub) -> None:
    """As NeMo does."""
    hub.add("a/b", {"a.nemo": b"another", "b.nemo": NEMO})
    assert load_model("a/b").config.source.file == "b.nemo"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a/missing", r"no folder a/missing here, and no repository a/missing on http.*`hf auth login`"),
        ("a/private", r"no repository a/private .* that you may see.*`hf auth login`"),
        ("a/gated", r"^a/gated is gated: accept its conditions at http.*/a/gated, then .*`hf auth login`\.$"),
        ("a/gated-files", r"^a/gated-files is gated"),
        ("a/forbidden", r"does not let you have a/forbidden \(403\).*`hf auth login`"),
        ("a/many-questions", r"answered 429 .*Try again later"),
        ("a/broken", r"answered 500 .*Try again later"),
        ("a/nothing", r"neither a \.nemo file nor a model converted by mlx-canary"),
        ("a/encoder", r"neither a \.nemo file nor a model converted by mlx-canary"),
        ("a/several", r"2 \.nemo files \(one\.nemo, two\.nemo\)\. Download one and give its path"),
        ("canary-180m-flash@v9", r"nvidia/canary-180m-flash has no revision 'v9'"),
        ("a/hostile", r"neither a \.nemo file"),
    ],
)
def test_what_the_hub_does_not_give_is_said_in_a_sentence(hub: FakeHub, caches: Path, name: str, says: str) -> None:
    nothing: dict[str, bytes] = {}
    hub.add("a/private", nothing, refuses=(404, "RepoNotFound"))
    hub.add("a/gated", nothing, refuses=(403, "GatedRepo"))
    hub.add("a/gated-files", {"gated.nemo": NEMO}, refuses_files=(401, "GatedRepo"))
    hub.add("a/forbidden", nothing, refuses=(403, ""))
    hub.add("a/many-questions", nothing, refuses=(429, ""))
    hub.add("a/broken", nothing, refuses=(500, ""))
    hub.add("a/nothing", {"README.md": b""})
    hub.add("a/encoder", ENCODER_ONLY)
    hub.add("a/several", {"one.nemo": NEMO, "two.nemo": NEMO})
    hub.add("a/hostile", {"../evil.nemo": NEMO, "/evil.nemo": NEMO, "..\\evil.nemo": NEMO, "a//.nemo": NEMO})
    with pytest.raises(ModelNotFoundError, match=says) as caught:
        CanaryModel.from_pretrained(name)
    assert "\n" not in str(caught.value)
    assert not hub.bodies
    assert not visible(caches / "ours")


def test_hostile_parts_of_a_converted_model_are_left_out(
    hub: FakeHub, caches: Path, converted: dict[str, bytes]
) -> None:
    names = ("../evil", "tokenizers/../../evil.model", "tokenizers/a/b.model", "/evil.model", "tokenizers/.model")
    hub.add("a/evil", {**converted, **dict.fromkeys(names, b"evil")})
    fetch(HubModel("a/evil"))
    assert visible(caches) == ["ours"]
    assert not [path for path in caches.rglob("*") if path.is_file() and path.read_bytes() == b"evil"]


def test_hostile_commit(hub: FakeHub, caches: Path) -> None:
    """The server's word for a commit becomes a folder's name."""
    hub.repositories["nvidia/canary-180m-flash"].commit = "../../../evil"
    with pytest.raises(ModelNotFoundError, match="has no commit"):
        fetch(FLASH)
    assert not list(caches.rglob("*evil*"))


def test_no_network(caches: Path) -> None:
    with pytest.raises(
        ModelNotFoundError, match=r"cannot be downloaded from http://127\.0\.0\.1:9: .*\.nemo file yours"
    ):
        load_model("canary-180m-flash")


def test_offline_and_not_there(hub: FakeHub) -> None:
    code = (
        "from mlx_canary import CanaryModel, ModelNotFoundError\n"
        "try: CanaryModel.from_pretrained('canary-180m-flash')\n"
        "except ModelNotFoundError as error: print(error)"
    )
    out, errors = python(code, HF_HUB_OFFLINE="1").communicate(timeout=60)
    assert "nvidia/canary-180m-flash is not on this machine, and HF_HUB_OFFLINE forbids downloading it" in out, errors
    assert not hub.requests


def test_a_server_that_does_not_answer(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.silent = threading.Event()
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    with pytest.raises(ModelNotFoundError, match="does not answer, so nvidia/canary-180m-flash cannot be had now"):
        fetch(FLASH)
    hub.silent.set()


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"<html>Accept our conditions</html>", b'{"id": "a/b"}', b""])
def test_an_endpoint_that_is_no_hub(hub: FakeHub, answer: bytes) -> None:
    """A portal of a hotel, or a wrong HF_ENDPOINT."""
    hub.repositories["nvidia/canary-180m-flash"].answer = answer
    with pytest.raises(ModelNotFoundError, match=r"not that of a hub|has no commit|cannot be downloaded from"):
        fetch(FLASH)


def test_too_little_room_is_said_before_the_download(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=60_000_000))
    with pytest.raises(ModelNotFoundError, match=r"has 60 MB free, and 70 MB are needed .*set MLX_CANARY_CACHE"):
        fetch(FLASH)
    assert not hub.bodies


def test_a_disk_that_fills_up(hub: FakeHub) -> None:
    """What was written stays, and is of use once there is room."""

    def full(what: str, done: int, total: int) -> None:
        if done > len(NEMO) // 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ModelNotFoundError, match=r"The disk is full while downloading .*goes on where it stopped"):
        fetch(FLASH, full)
    fetch(FLASH)
    assert hub.bodies[-1].start > 0


def test_a_cache_that_cannot_be_written(hub: FakeHub, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the folder should be stands for all of them, as root may write anywhere."""
    (caches / "ours").write_text("in the way")
    with pytest.raises(ModelNotFoundError, match=r"cannot be kept in .*/ours: .*Set MLX_CANARY_CACHE to a folder that"):
        fetch(FLASH)
    assert not hub.bodies


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_may_only_be_read(hub: FakeHub, caches: Path) -> None:
    """What is in it is used; anything else is an error."""
    fetch(FLASH)
    (caches / "ours").chmod(0o555)
    (caches / "ours/.downloads").chmod(0o555)
    try:
        load_model("canary-180m-flash")
        with pytest.raises(ModelNotFoundError, match=r"cannot be kept in .* Permission denied"):
            fetch(HubModel("a/b"))
    finally:
        (caches / "ours").chmod(0o755)
        (caches / "ours/.downloads").chmod(0o755)


def test_a_nemo_that_cannot_be_converted(hub: FakeHub, caches: Path) -> None:
    """The reason is the converter's; a later version may succeed without another download."""
    hub.add("a/b", {"b.nemo": b"not a checkpoint" * 1000})
    for _ in range(2):
        with pytest.raises(ConversionError, match=r"^a/b cannot be converted: .*b\.nemo"):
            load_model("a/b")
    assert len(hub.bodies) == 1
    assert not visible(caches / "ours")
    assert sum(map(n_bytes, unfinished())) == 16_000


def test_killed_while_it_converts(hub: FakeHub, caches: Path) -> None:
    """Nothing looks like a model, and the next process cleans up and needs no second download."""
    code = (
        "import os; from mlx_canary.load_models import load_model\n"
        "def stop(what, done, total):\n"
        "    if what.startswith('Converting') and done > total / 2: os.kill(os.getpid(), 9)\n"
        "load_model('canary-180m-flash', stop)"
    )
    process = python(code)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    ours = caches / "ours"
    assert not visible(ours)
    assert not cached_models()
    assert list(ours.glob(f".{FOLDER}.*.partial"))
    other = ours / f".{FOLDER}.x.abcdefgh.partial"  # of a model called canary-180m-flash.x
    other.mkdir()
    n_bodies = len(hub.bodies)
    fetch(FLASH)
    assert len(hub.bodies) == n_bodies
    assert list(ours.glob(".*.partial")) == [other]


def test_two_processes_at_once(hub: FakeHub, caches: Path) -> None:
    """One downloads and converts, the other waits for it."""
    code = "from mlx_canary.load_models import load_model; print(load_model('canary-180m-flash').config.name)"
    processes = [python(code) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert outputs == [("canary-180m-flash\n", "")] * 2
    assert len(hub.bodies) == 1
    assert visible(caches / "ours") == [FOLDER]


def test_waiting_for_another_is_told(hub: FakeHub) -> None:
    told, started, waited = Told(), threading.Event(), threading.Event()

    def first(what: str, done: int, total: int) -> None:
        started.set()
        assert waited.wait(10)

    def second(what: str, done: int, total: int) -> None:
        told(what, done, total)
        waited.set()

    thread = threading.Thread(target=fetch, args=(FLASH, first))
    thread.start()
    assert started.wait(10)
    fetch(FLASH, second)
    thread.join()
    assert set(told.calls) == {("Waiting for another process that gets nvidia/canary-180m-flash", 0, 0)}


def test_who_waits_for_another_may_stop(hub: FakeHub) -> None:
    """It waited however long the other took."""
    started, given_up = threading.Event(), threading.Event()

    def first(what: str, done: int, total: int) -> None:
        started.set()
        assert given_up.wait(60)

    told = Told()

    def second(what: str, done: int, total: int) -> None:
        told(what, done, total)
        if len(told.calls) == 2:
            raise KeyboardInterrupt

    thread = threading.Thread(target=fetch, args=(FLASH, first))
    thread.start()
    assert started.wait(10)
    with pytest.raises(KeyboardInterrupt):
        fetch(FLASH, second)
    given_up.set()
    thread.join()


def test_a_server_that_is_closed_downloads_no_more(hub: FakeHub, caches: Path) -> None:
    """An assistant that quit left a process behind that downloaded and converted the whole model."""
    hub.silent = threading.Event()
    worker = Worker("canary-180m-flash")
    closing = threading.Thread(target=worker.close)
    closing.start()
    assert worker._closing.wait(10)
    hub.silent.set()
    closing.join()
    assert len(hub.bodies) == 1
    assert visible(caches / "ours") == []
    fetch(FLASH)
    assert hub.bodies[1].start > 0


@pytest.mark.parametrize("damage", ["lacks its weights", "lacks a tokenizer", "has an old format", "is empty"])
def test_an_unusable_model_in_the_cache_is_made_again(hub: FakeHub, damage: str) -> None:
    folder = fetch(FLASH)
    if damage == "lacks its weights":
        (folder / "model.safetensors").unlink()
    elif damage == "lacks a tokenizer":
        (folder / "tokenizers/en.model").unlink()
    elif damage == "has an old format":
        (folder / "config.json").write_text('{"format_version": 0}')
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    assert find(FLASH) is None
    load_model("canary-180m-flash")
    assert len(hub.bodies) == 2


def test_what_is_not_ours_is_not_deleted(hub: FakeHub, caches: Path) -> None:
    precious = caches / "ours" / FOLDER / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    with pytest.raises(ConversionError, match=r"holds other files than a converted model, such as thesis\.txt"):
        fetch(FLASH)
    assert precious.read_text() == "years of work"


@pytest.mark.parametrize("online", [True, False])
def test_a_nemo_in_the_cache_of_the_hub_is_taken_from_there(
    hub: FakeHub, caches: Path, monkeypatch: pytest.MonkeyPatch, online: bool
) -> None:
    """Another program downloaded it, perhaps NeMo. It stays there: it is not ours."""
    commit = hub.repositories["nvidia/canary-180m-flash"].commit
    repository = caches / "hf/hub/models--nvidia--canary-180m-flash"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    (repository / "blobs/0123").write_bytes(NEMO)
    link = repository / "snapshots" / commit / "canary-180m-flash.nemo"
    link.symlink_to("../../blobs/0123")
    if not online:
        endpoint(monkeypatch, "http://127.0.0.1:9")
    assert load_model("canary-180m-flash").config.name == "canary-180m-flash"
    assert not hub.bodies
    assert link.read_bytes() == NEMO


@pytest.mark.parametrize(
    ("name", "level", "says"),
    [
        ("canary-180m-flash", logging.INFO, "have the licence CC-BY-4.0"),
        ("canary-1b", logging.WARNING, "have the licence CC-BY-NC-4.0: no commercial use"),
        ("a/b", logging.INFO, "What may be done with the weights of a/b is said in its repository"),
    ],
)
def test_the_licence_is_said_once(
    hub: FakeHub, caplog: pytest.LogCaptureFixture, name: str, level: int, says: str
) -> None:
    hub.add("nvidia/canary-1b", {"canary-1b.nemo": NEMO})
    hub.add("a/b", {"b.nemo": NEMO})
    caplog.set_level(logging.INFO, "mlx_canary")
    for _ in range(2):
        locate(name)
    said = [record for record in caplog.records if "weights of" in record.getMessage()]
    assert [record.levelno for record in said] == [level]
    assert says in said[0].getMessage()


def test_a_path_is_not_looked_for_on_the_hub(hub: FakeHub) -> None:
    """Whoever gives a Path means the disk; whoever gives text may mean either, and the disk comes first."""
    with pytest.raises(ModelNotFoundError, match="no such file or folder"):
        locate(Path("nvidia/canary-180m-flash"))
    with pytest.raises(ModelNotFoundError, match=r"no such file or folder.*and not owner/name on the Hugging Face hub"):
        locate("../nvidia/canary-180m-flash")
    assert not hub.requests
