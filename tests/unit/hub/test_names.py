"""Names of models: which can be on the hub, and that none leads out of the cache."""

from __future__ import annotations

import pytest

from mlx_canary import CANARY_MODELS
from mlx_canary.hub.names import HubModel, hub_model, model_of_folder

HOSTILE = [
    *("", "/", "..", "../..", "a/..", "../a", "./a", "a/.", ".a/b", "a/.b", "a/b/c", "/etc/passwd", "~/a", "a//b"),
    *("a/b\\..\\c", "a\\b/c", "a/b\0", "a/b\n", "a /b", "a/b c", "a/b:c", "a/-b", "a-/b", "a/b.", "a/b--c", "a--b/c"),
    *("a/é", "a/b?c", "a/b#c", "a/b%2Fc", "http://a/b", "a/" + "b" * 97, "dir/file.nemo", "unknown-name"),
    *("a/b@", "a/b@..", "a/b@../c", "a/b@/c", "a/b@c/", "a/b@c//d", "a/b@c\\d", "a/b@.c", "a/b@c d", "a/b@c@d"),
    *("a/b@" + "c" * 101, "canary-1b@../..", "@main", "a@b/c"),
]


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_what_cannot_be_on_the_hub_is_not_looked_for(name: str) -> None:
    assert hub_model(name) is None


def test_published_names_are_repositories() -> None:
    for name, published in CANARY_MODELS.items():
        assert hub_model(name) == hub_model(published.repository) == HubModel(published.repository)
    assert hub_model("canary-1b-v2@v1.0") == HubModel("nvidia/canary-1b-v2", "v1.0")


@pytest.mark.parametrize(
    "name", ["a/b", "A_1/b.c-d", "_a/b_", "a/b@main", "a/b@refs/pr/1", "a/b@v1.0+x", "a/b@0123abc"]
)
def test_a_folder_is_for_one_model_alone(name: str) -> None:
    model = hub_model(name)
    assert model is not None
    assert str(model) == name
    assert "/" not in model.folder
    assert model_of_folder(model.folder) == model


def test_revisions_with_slashes_have_folders_of_their_own() -> None:
    folders = {hub_model(f"a/b@{revision}").folder for revision in ("x/y", "x-y", "x_y", "x+y")}
    assert len(folders) == 4


@pytest.mark.parametrize("folder", ["a", ".downloads", "a--b--c", "a--b@%2e%2e", "a--b@..%2Fc", "canary-1b", "a--b@"])
def test_other_folders_are_no_models(folder: str) -> None:
    assert model_of_folder(folder) is None
