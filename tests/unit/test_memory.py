"""What MLX keeps on a Mac. There is none here: its limits are pretended."""

import threading
from types import SimpleNamespace

import pytest

from mlx_canary import memory
from mlx_canary.backend import mx

GB = 1 << 30


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch):
    """Commands that other tests ran in this process may have."""
    monkeypatch.setattr(memory, "_chosen", threading.Event())


class PretendedMac:
    """As MLX on one: its own limit is one and a half times what the GPU should use."""

    float32, gpu, Device = mx.float32, mx.gpu, mx.Device

    def __init__(self, usable: int, limit: int | None = None, metal: bool = True) -> None:
        self.metal = SimpleNamespace(is_available=lambda: metal)
        self.usable, self.limit = usable, usable * 3 // 2 if limit is None else limit

    def device_info(self, device: mx.Device) -> dict[str, int]:
        assert device == mx.Device(mx.gpu)
        return {"max_recommended_working_set_size": self.usable}

    def set_cache_limit(self, limit: int) -> int:
        before, self.limit = self.limit, limit
        return before


@pytest.mark.parametrize(
    ("usable", "limit", "after"),
    [
        (8 * GB, None, GB),
        (48 * GB, None, 2 * GB),
        (48 * GB, 4 * GB, 4 * GB),  # somebody has chosen
        (48 * GB, 0, 0),
        (48 * GB, 2 * GB, 2 * GB),  # a second model
    ],
)
def test_the_cache_is_bounded(monkeypatch, usable, limit, after):
    mac = PretendedMac(usable, limit)
    monkeypatch.setattr(memory, "mx", mac)
    memory.bound_cache()
    assert mac.limit == after


def test_a_limit_that_was_asked_for_stays(monkeypatch):
    mac = PretendedMac(8 * GB)
    monkeypatch.setattr(memory, "mx", mac)
    memory.limit_memory(None, 100 * GB)
    memory.bound_cache()
    assert mac.limit == 100 * GB


def test_an_older_mlx(monkeypatch):
    """Before 0.30.4 what is known of the device belonged to Metal."""
    mac = PretendedMac(8 * GB)
    mac.metal.device_info = lambda: {"max_recommended_working_set_size": 8 * GB}
    monkeypatch.delattr(PretendedMac, "device_info")
    monkeypatch.setattr(memory, "mx", mac)
    memory.bound_cache()
    assert mac.limit == GB


def test_elsewhere_nothing_is_changed(monkeypatch):
    machine = PretendedMac(8 * GB, metal=False)
    monkeypatch.setattr(memory, "mx", machine)
    memory.bound_cache()
    memory.warn_of_size(100 * GB, mx.float32)
    assert machine.limit == 12 * GB


@pytest.mark.parametrize(
    ("n_bytes", "dtype", "told"),
    [(6 * GB, mx.float32, True), (6 * GB, mx.float16, False), (3 * GB, mx.float32, False)],
)
def test_weights_that_fill_a_mac_are_told(monkeypatch, caplog, n_bytes, dtype, told):
    monkeypatch.setattr(memory, "mx", PretendedMac(8 * GB))
    memory.warn_of_size(n_bytes, dtype)
    assert ("6.4 GB in float32, and this Mac's GPU should use 8.6 GB" in caplog.text) == told
