"""Places in the queue, held sound, and the check of an address; each without a socket."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import sys
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import DATA, WAVS
from servers import spoken

from mlx_canary import AudioError, PromptError, ServerError, load_audio
from mlx_canary.backend import mx
from mlx_canary.cli.main import main
from mlx_canary.cli.memory import as_bytes, memory_options
from mlx_canary.memory import limit_memory
from mlx_canary.serve.admission import Admission
from mlx_canary.serve.failures import RequestError
from mlx_canary.serve.guards import host_name, origin_of
from mlx_canary.serve.job_store import JobStore
from mlx_canary.serve.packages import require_all
from mlx_canary.serve.run import check_exposure, serve
from mlx_canary.serve.settings import Settings
from mlx_canary.serve.sound import SoundReader

SPEECH = DATA / "audio" / WAVS["speech"]


def test_a_place_is_free_again_whatever_happened():
    places = Admission("requests", most=1, together=1)
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), places.enter():
            with pytest.raises(RequestError, match="1 requests already") as full, places.enter():
                pass
            assert full.value.status == 429
            raise ZeroDivisionError
    places.closed = True
    with pytest.raises(RequestError, match="being stopped") as stopping, places.enter():
        pass
    assert stopping.value.status == 503


def test_who_is_refused_is_told_when_to_come_back(monkeypatch):
    """Later where requests take long, sooner where several are served together."""
    monkeypatch.setattr("mlx_canary.serve.admission.time", SimpleNamespace(monotonic=lambda: now))

    def told(places: Admission) -> int:
        with contextlib.ExitStack() as inside:
            for _ in range(2):
                inside.enter_context(places.enter())
            with pytest.raises(RequestError, match="2 requests already") as full, places.enter():
                pass
        return int(full.value.headers["Retry-After"])

    now = 0.0
    one_by_one, together = (Admission("requests", most=2, together=n) for n in (1, 2))
    assert (told(one_by_one), told(together)) == (2, 1)  # before it is known how long they take: a second each
    for places in (one_by_one, together):
        for _ in range(99):
            with places.enter():
                now += 30
    assert (told(one_by_one), told(together)) == (60, 30)


def test_the_sound_of_an_upload_is_that_of_load_audio():
    reader = SoundReader(16_000, max_duration=10, max_held=10)
    audio = asyncio.run(reader.read(io.BytesIO(SPEECH.read_bytes())))
    np.testing.assert_array_equal(audio.samples, load_audio(SPEECH).samples)
    assert reader.held == audio.duration
    reader.release(audio)
    assert reader.held == 0
    reader.close()


def test_too_much_sound():
    """Nothing is held of what was refused."""
    reader = SoundReader(16_000, max_duration=5, max_held=5)
    with pytest.raises(RequestError, match="limit of 5 s") as refused:
        asyncio.run(reader.read(io.BytesIO(SPEECH.read_bytes())))
    assert (refused.value.status, reader.held) == (413, 0)
    with pytest.raises(AudioError, match="not a sound or video file"):
        asyncio.run(reader.read(io.BytesIO(b"text" * 100)))
    reader.close()


def test_too_much_sound_of_others():
    reader = SoundReader(16_000, max_duration=10, max_held=10)
    audio = asyncio.run(reader.read(io.BytesIO(SPEECH.read_bytes())))
    with pytest.raises(RequestError, match="as much sound as it may") as refused:
        asyncio.run(reader.read(io.BytesIO(SPEECH.read_bytes())))
    assert (refused.value.status, reader.held) == (429, audio.duration)
    reader.close()


def test_a_short_upload_does_not_wait_for_long_ones():
    """With two long ones being decoded, a clip of a second waited until one of them was done."""

    async def main() -> None:
        files = [spoken(900), spoken(900), SPEECH.read_bytes()]
        *long, short = [asyncio.ensure_future(reader.read(io.BytesIO(file))) for file in files]
        await short
        assert not any(task.done() for task in long)
        await asyncio.gather(*long)

    reader = SoundReader(16_000, max_duration=1000, max_held=2000)
    asyncio.run(main())
    reader.close()


def test_a_recording_may_not_be_longer_than_all_that_is_held(flash):
    """A job of thirteen hours would have been tried for ever."""
    with pytest.raises(ServerError, match=r"max_duration=50000 .* 43200 s"):
        serve(lambda: flash, Settings(port=0, max_duration=50_000))


def test_reading_that_is_given_up_leaves_nothing():
    """The file may be closed as soon as the caller goes on."""

    class Slow(io.BytesIO):
        reads = 0

        def read(self, size=-1):
            Slow.reads += 1
            if Slow.reads == 3:
                loop.call_soon_threadsafe(task.cancel)
            return super().read(min(size, 64))

    async def main():
        nonlocal loop, task
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(reader.read(Slow(SPEECH.read_bytes())))
        with pytest.raises(asyncio.CancelledError):
            await task

    loop = task = None
    reader = SoundReader(16_000, max_duration=10, max_held=10)
    asyncio.run(main())
    assert reader.held == 0
    reader.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_a_network_needs_a_key(host):
    with pytest.raises(ServerError, match="Give an --api-key"):
        check_exposure(Settings(host=host))
    check_exposure(Settings(host=host, api_key="secret"))


@pytest.mark.parametrize(
    ("key", "message"), [(" ", "is empty"), ("Schlüssel", "ASCII letters and digits"), ("a\nb", "headers cannot hold")]
)
def test_a_key_that_no_request_can_have(flash, key, message):
    """The server started, and let nobody in."""
    with pytest.raises(ServerError, match=message):
        serve(lambda: flash, Settings(port=0, api_key=key))


def test_texts_are_kept_for_a_while(capsys):
    """With no days at all a job's text was deleted before anybody could fetch it."""
    with pytest.raises(SystemExit) as ended:
        main(["serve", "-m", "demo", "--job-days", "0"])
    assert ended.value.code == 2
    assert "0.0 is not in the range x>=0.01" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "mcp"])
def test_a_limit_of_memory_that_makes_no_sense(capsys, tmp_path, command):
    with pytest.raises(SystemExit) as ended:
        main(
            [command, "-m", "demo", "--memory-limit", "-1", *(["--folder", str(tmp_path)] if command == "mcp" else [])]
        )
    assert ended.value.code == 2
    assert "A limit of -1.0 GB is not possible" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["8", "8GB", "8 GB", "8gb"])
def test_a_limit_of_memory_may_have_its_unit(limit):
    """8GB was refused as no number."""

    @click.command()
    @memory_options
    def command(memory_limit, cache_limit):
        click.echo(f"{as_bytes(memory_limit)} {as_bytes(cache_limit)}")

    assert CliRunner().invoke(command, ["--memory-limit", limit]).output == "8000000000 None\n"
    refused = CliRunner().invoke(command, ["--cache-limit", f"{limit}s"])
    assert refused.exit_code == 2
    assert f"'{limit}s' is not a number of gigabytes, such as 8 or 8GB." in refused.output


def test_limits_of_memory_reach_mlx(caplog):
    before = mx.set_memory_limit(10**9), mx.set_cache_limit(10**9)
    with caplog.at_level("WARNING"):
        limit_memory(as_bytes(3), None)
    on_a_cpu = ["--memory-limit has no effect on a CPU: MLX takes what it needs there."]
    assert caplog.messages == (on_a_cpu if mx.default_device() == mx.cpu else [])
    limit_memory(None, as_bytes(0.5))
    assert (mx.set_memory_limit(before[0]), mx.set_cache_limit(before[1])) == (3 * 10**9, 5 * 10**8)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_this_machine_needs_none(host):
    check_exposure(Settings(host=host))


@pytest.mark.parametrize("given", ["*", "example.org", "https://example.org/page", "https://"])
def test_what_is_no_origin(flash, given):
    with pytest.raises(ServerError, match=r"is not a page's origin\. Give one such as https://example\.org"):
        serve(lambda: flash, Settings(port=0, allow_origins=(given,)))


def test_programs_that_show_pages_of_their_own_have_origins_too():
    assert [origin_of(given) for given in ("null", "file://", "HTTPS://Example.org:443/")] == [
        *("null", "file://", "https://example.org")
    ]
    assert [host_name(given) for given in ("::1", "Mac.local:8000")] == ["::1", "mac.local"]


@pytest.mark.parametrize("given", ["https://example.org", "*.example.org", "example.org/", ""])
def test_what_is_no_host(flash, given):
    with pytest.raises(ServerError, match=r"is not the name of a host. Give one such as canary\.example\.org"):
        serve(lambda: flash, Settings(port=0, allow_hosts=(given,)))


def test_a_package_that_is_missing(monkeypatch):
    """Said before a model is loaded."""
    require_all()
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ServerError, match=r"the extra 'serve' \(.*uvicorn.*pip install fastapi .* uvicorn"):
        require_all()


def test_a_port_that_is_taken(flash):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServerError, match="Choose another --host or"):
        serve(lambda: flash, Settings(port=taken.getsockname()[1]))


def test_a_default_language_that_the_model_does_not_know(flash):
    """Otherwise every request would find out."""
    with pytest.raises(PromptError, match="does not know the spoken language 'ja'"):
        serve(lambda: flash, Settings(port=0, language="ja"))


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match="Choose another --data-dir"):
        JobStore(tmp_path / "file" / "jobs")


def test_jobs_of_a_damaged_disk_are_told_in_a_sentence(tmp_path):
    """There was a traceback, or a statement in SQL and an address."""
    store = JobStore(tmp_path)
    store.add("job_1", {})
    store.change("job_1", form="{")
    store.close()
    with pytest.raises(ServerError, match=r"^Jobs cannot be kept in .*: Expecting property name .* Choose another"):
        JobStore(tmp_path)
    (tmp_path / "jobs.sqlite").write_bytes(b"noise" * 1000)
    with pytest.raises(ServerError, match=r"^Jobs cannot be kept in .*: file is not a database\. Choose another"):
        JobStore(tmp_path)


def test_jobs_are_for_their_owner_s_eyes_and_expire(tmp_path):
    store = JobStore(tmp_path / "jobs")
    assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0
    for text in ("old", "new"):
        with store.new() as id:
            store.upload(id).write_text(text)
            store.add(id, {"model": "demo"})
    new, old = store.latest(10)
    store.finish(old.id, status="done", result="{}")
    store.change(old.id, finished=1.0)
    store.expire(before=2.0)
    assert [job.id for job in store.latest(10)] == [new.id]
    assert [path.name for path in (tmp_path / "jobs/uploads").iterdir()] == [new.id]
    store.close()
