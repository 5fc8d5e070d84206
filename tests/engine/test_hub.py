"""Models of the hub: fetched whole from a stand-in of it, or not taken for whole."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from dgengine import hub as dghub
from dgengine.engine import find_model
from dgengine.errors import CheckpointError, DownloadError, ModelNotFoundError
from dgengine.hub import State, Transfer, cached_models, find, parse, pull, remove
from dgengine.hub.amounts import amount, duration, share
from dgengine.hub.cache import folder_of, lock, look
from dgengine.hub.catalogue import KNOWN
from dgengine.hub.fetching import Fetcher, Stopped
from dgengine.hub.manifest import ModelFile
from dgengine.hub.meter import Meter
from tests.hub import COMMIT, NEEDED, SHARDS, Cut, Hub, Instead, Refusal, Slow, Trouble, Whole, connect, tiny_model

NAME = "org/tiny"
OTHER_COMMIT = "9" * 40
WEIGHTS = tiny_model()[SHARDS[0]]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """The stand-in with one model, which `huggingface_hub` takes for the hub."""
    with Hub() as stand_in:
        connect(monkeypatch, stand_in, cache)
        stand_in.add(NAME, tiny_model(), large=SHARDS)
        yield stand_in


def partial() -> Path:
    """The part of the first shard; of the others there may be one, too."""
    return folder_of(NAME) / "blobs" / f"{hashlib.sha256(WEIGHTS).hexdigest()}.incomplete"


def assert_whole(path: Path, files: dict[str, bytes] | None = None) -> None:
    files = files or tiny_model()
    assert {one.name: one.read_bytes() for one in path.iterdir()} == {name: files[name] for name in NEEDED}
    assert not list((folder_of(NAME) / "blobs").glob("*.incomplete"))


# what a download is


def test_a_model_is_fetched_whole(hub: Hub, cache: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="not in the hub's cache: dgchat pull org/tiny gets it"):
        find(NAME)
    pulled = pull(NAME)
    size = sum(len(tiny_model()[name]) for name in NEEDED)
    assert (pulled.repo, pulled.commit, pulled.bytes, pulled.fetched) == (NAME, COMMIT, size, size)
    assert_whole(pulled.path)
    assert find(NAME) == find_model(NAME) == find(f"{NAME}@main") == find(f"{NAME}@{COMMIT}") == pulled.path
    assert pulled.path.is_relative_to(cache)


def test_only_what_is_needed_is_asked_for(hub: Hub) -> None:
    pull(NAME)
    files = {one.path.rpartition("/")[2] for one in hub.requests if "/resolve/" in one.path}
    assert files == NEEDED
    assert all(f"/resolve/{COMMIT}/" in one.path for one in hub.requests if "/resolve/" in one.path), "one commit"


def test_what_is_here_is_not_fetched_again(hub: Hub) -> None:
    pull(NAME)
    hub.requests.clear()
    assert pull(NAME).fetched == 0
    assert [one.path for one in hub.requests] == [f"/api/models/{NAME}/revision/main"]


def test_the_library_finds_what_was_pulled(hub: Hub) -> None:
    """The cache is the hub's own: neither transformers nor `hf` fetches it again."""
    pulled = pull(NAME)
    hub.requests.clear()
    patterns = ["*.json", "*.safetensors", "*.jinja"]
    options: dict[str, Any] = {"allow_patterns": patterns, "ignore_patterns": ["original/*"]}
    assert huggingface_hub.snapshot_download(NAME, **options) == str(pulled.path)
    assert huggingface_hub.snapshot_download(NAME, local_files_only=True, **options) == str(pulled.path)
    assert not hub.asked("GET", ".safetensors") and not hub.asked("GET", "config.json")
    (repo,) = huggingface_hub.scan_cache_dir().repos
    assert (repo.repo_id, repo.nb_files) == (NAME, len(NEEDED))
    assert [revision.refs for revision in repo.revisions] == [{"main"}]


def test_what_the_library_fetched_is_compared_and_kept(hub: Hub) -> None:
    """Another program's download counts as whole by itself, and `pull` only reads it."""
    path = huggingface_hub.snapshot_download(NAME, ignore_patterns=["*.bin", "*.py", "*.pkl", "original/*"])
    assert find(NAME) == Path(path)
    hub.requests.clear()
    assert pull(NAME).fetched == 0
    assert not hub.asked("GET", ".safetensors")


def test_a_blob_that_is_wrong_is_fetched_again(hub: Hub) -> None:
    path = Path(huggingface_hub.snapshot_download(NAME, allow_patterns=["*.safetensors", "*.json"]))
    blob = (path / SHARDS[0]).resolve()
    blob.write_bytes(bytes(blob.stat().st_size))
    assert pull(NAME).fetched == len(tiny_model()[SHARDS[0]]) + len(tiny_model()["chat_template.jinja"])
    assert (path / SHARDS[0]).read_bytes() == tiny_model()[SHARDS[0]]


def test_progress_is_in_bytes(hub: Hub) -> None:
    hub.troubles[SHARDS[0]] = [Slow(chunk=5_000, pause=0.03)]
    seen: list[Transfer] = []
    pulled = pull(NAME, progress=seen.append)
    assert seen[-1] == Transfer("check", pulled.bytes, pulled.bytes, None, None)
    assert {one.total for one in seen} == {pulled.bytes}
    done = [one.done for one in seen if one.stage == "download"]
    assert done == sorted(done) and len(set(done)) > 2


def test_a_revision_is_pinned(hub: Hub) -> None:
    hub.add(NAME, tiny_model(seed=7), large=SHARDS, commit=OTHER_COMMIT, revision="v1")
    old = pull(NAME, revision="v1")
    assert (old.commit, find(NAME), find(f"{NAME}@v1")) == (OTHER_COMMIT, old.path, old.path)
    assert_whole(old.path, tiny_model(seed=7))
    new = pull(NAME)
    assert (find(NAME), find_model(f"{NAME}@v1")) == (new.path, old.path)
    assert new.fetched == sum(len(tiny_model()[shard]) for shard in SHARDS), "small files are the same"
    assert pull(f"{NAME}@{OTHER_COMMIT}").path == old.path


def test_a_model_that_moves_on_stays_as_it_is(hub: Hub) -> None:
    """Nothing looks for a newer version but `pull`, and until that is whole the older one holds."""
    old = pull(NAME)
    hub.requests.clear()
    hub.add(NAME, tiny_model(seed=7), large=SHARDS, commit=OTHER_COMMIT)
    assert find_model(NAME) == old.path and not hub.requests
    hub.troubles[SHARDS[0]] = [Refusal(404, "EntryNotFound")]
    with pytest.raises(DownloadError):
        pull(NAME)
    assert find_model(NAME) == old.path
    assert pull(NAME).path == find(NAME) != old.path


def test_two_files_of_the_same_contents(hub: Hub) -> None:
    files = {**tiny_model(), "special_tokens_map.json": b"{}", "empty.json": b"", "void.json": b""}
    hub.add("org/twins", files, large=SHARDS)
    pulled = pull("org/twins")
    assert (pulled.path / "special_tokens_map.json").read_bytes() == b"{}"
    assert (pulled.path / "void.json").read_bytes() == b""
    assert [find("org/twins"), pull("org/twins").fetched] == [pulled.path, 0]


def test_without_links_files_are_moved(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    pulled = pull(NAME)
    assert_whole(pulled.path)
    assert not any((pulled.path / name).is_symlink() for name in NEEDED)
    assert pull(NAME).fetched == 0


def test_the_first_load_fetches(hub: Hub) -> None:
    seen: list[tuple[str, float]] = []
    path = find_model(NAME, report=lambda stage, done: seen.append((stage, done)))
    assert path == find(NAME)
    assert {stage for stage, _ in seen} == {"download"} and seen[-1][1] == 1.0


# what is cut goes on


def test_a_cut_connection_goes_on_where_it_was(hub: Hub) -> None:
    hub.troubles[SHARDS[0]] = [Cut(after=20_000), Cut(after=0), Cut(after=7_000)]
    assert_whole(pull(NAME).path)
    ranges = [one.range for one in hub.requests if one.path.startswith("/store/") and one.path.endswith(SHARDS[0])]
    assert ranges == ["", "bytes=20000-", "bytes=20000-", "bytes=27000-"]


def test_a_connection_that_stays_cut(hub: Hub) -> None:
    hub.troubles[SHARDS[0]], hub.lasting = [Cut(after=20_000), Cut(after=0)], True
    with pytest.raises(DownloadError, match=r"connection was lost with \d+ of \d+ kB here .* run dgchat pull org/tiny"):
        pull(NAME)
    assert partial().stat().st_size == 20_000
    with pytest.raises(ModelNotFoundError, match=r"Only a part .* \(\d+ of \d+ kB\): dgchat pull org/tiny goes on"):
        find_model(NAME)
    hub.troubles.clear()
    hub.requests.clear()
    pulled = pull(NAME)
    assert_whole(pulled.path)
    assert pulled.fetched < len(tiny_model()[SHARDS[0]])
    assert hub.asked("GET", SHARDS[0])[0].range == "bytes=20000-"


def test_what_was_begun_is_no_model(hub: Hub) -> None:
    """Whichever file is the one that is not there."""
    pulled = pull(NAME)
    for name in sorted(NEEDED):
        file = pulled.path / name
        target, data = file.readlink(), file.read_bytes()
        file.unlink()
        with pytest.raises(ModelNotFoundError, match="goes on"):
            find(NAME)
        file.write_bytes(data[:-1])
        with pytest.raises(ModelNotFoundError, match="goes on"):
            find(NAME)
        file.unlink()
        file.symlink_to(target)
    assert find(NAME) == pulled.path


def test_a_server_that_ignores_ranges(hub: Hub) -> None:
    hub.troubles[SHARDS[0]] = [Cut(after=20_000), Whole()]
    assert_whole(pull(NAME).path)


def test_a_part_that_is_too_long_begins_anew(hub: Hub) -> None:
    hub.troubles[SHARDS[0]], hub.lasting = [Cut(after=20_000), Cut(after=0)], True
    with pytest.raises(DownloadError):
        pull(NAME)
    partial().write_bytes(bytes(200_000))
    hub.troubles.clear()
    assert_whole(pull(NAME).path)


def test_a_part_of_the_wrong_bytes_is_found_out(hub: Hub) -> None:
    hub.troubles[SHARDS[0]], hub.lasting = [Cut(after=20_000), Cut(after=0)], True
    with pytest.raises(DownloadError):
        pull(NAME)
    partial().write_bytes(bytes(20_000))
    hub.troubles.clear()
    with pytest.raises(DownloadError, match=rf"{SHARDS[0]} of org/tiny does not have the hash"):
        pull(NAME)
    assert_whole(pull(NAME).path)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_a_hub_in_trouble_is_asked_again(hub: Hub, status: int) -> None:
    hub.troubles["config.json"] = [Refusal(status), Refusal(status)]
    hub.troubles[SHARDS[1]] = [Refusal(status)]
    assert_whole(pull(NAME).path)


def test_a_hub_that_asks_for_patience_gets_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("dgengine.hub.fetching.Fetcher._pause", lambda self, trouble, tries: waits.append(tries))
    hub.troubles[SHARDS[0]] = [Refusal(429, headers={"Retry-After": "7"})]
    assert_whole(pull(NAME).path)
    assert waits == [1]


def test_the_time_it_asks_for_is_waited(hub: Hub) -> None:
    waited: list[float | None] = []

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return len(waited) > 3

    data = tiny_model()["config.json"]
    file = ModelFile("config.json", len(data), hub.repos[f"{NAME}@{COMMIT}"].digest("config.json"))
    fetcher = Fetcher(dghub.HubName(NAME, NAME), COMMIT, Meter(0, 0), set(), lambda: None, Clock())
    busy = Refusal(429, headers={"Retry-After": "7"})
    hub.troubles["config.json"] = [busy, Refusal(503), Refusal(503, headers={"Retry-After": "60"}), busy]
    with pytest.raises(Stopped):
        fetcher.fetch(file)
    assert waited == [7, 0.0, 60, 7]


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Retry-After": "300"}, "too many requests from here: wait 5 min"),
        ({"RateLimit": '"resolvers";r=0;t=240'}, "wait 4 min"),
        ({"Retry-After": "a while"}, "wait a few minutes"),
    ],
)
def test_too_many_requests(hub: Hub, headers: dict[str, str], says: str) -> None:
    hub.troubles["api"] = [Refusal(429, headers=headers)]
    with pytest.raises(DownloadError, match=says):
        pull(NAME)
    if says != "wait a few minutes":
        hub.troubles[SHARDS[0]] = [Refusal(429, headers=headers)]
        with pytest.raises(DownloadError, match=says):
            pull(NAME)
    assert_whole(pull(NAME).path)


# what is refused


def wrong(trouble: Trouble, says: str) -> Any:
    return pytest.param(trouble, says, id=says)


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        wrong(Instead(bytes(len(WEIGHTS))), "does not have the hash"),
        wrong(Instead(WEIGHTS + b"!"), r"is 50 kB \(\d+ bytes\) long and not"),
        wrong(Instead(WEIGHTS[:-1]), r"is 50 kB \(\d+ bytes\) long and not"),
    ],
)
def test_a_file_that_is_not_what_the_hub_says(hub: Hub, trouble: Trouble, says: str) -> None:
    hub.troubles[SHARDS[0]] = [trouble]
    with pytest.raises(DownloadError, match=f"{SHARDS[0]} of org/tiny {says}.*removed"):
        pull(NAME)
    assert not list((folder_of(NAME) / "blobs").glob(f"{hashlib.sha256(WEIGHTS).hexdigest()}*"))
    with pytest.raises(ModelNotFoundError, match="goes on"):
        find(NAME)
    assert_whole(pull(NAME).path)


def test_a_small_file_is_compared_too(hub: Hub) -> None:
    hub.troubles["tokenizer.json"] = [Instead(tiny_model()["tokenizer.json"].replace(b"1.0", b"6.6"))]
    with pytest.raises(DownloadError, match=r"tokenizer\.json of org/tiny does not have the hash"):
        pull(NAME)


def test_bodies_are_asked_for_as_they_are(hub: Hub) -> None:
    pull(NAME)
    files = [one for one in hub.requests if "/resolve/" in one.path]
    assert {one.encoding for one in files} == {"identity"}, "a compressed body has no ranges"


@pytest.mark.parametrize(
    ("name", "revision", "says"),
    [
        ("org/nothing", None, "There is no model org/nothing on the hub"),
        (NAME, "v9", "The model org/tiny has no revision 'v9'"),
        (f"{NAME}@{OTHER_COMMIT}", None, "has no revision '9999"),
        ("pocket", None, "'pocket' is no name of a model on the hub"),
        (f"{NAME}@../../etc", None, "is no name of a model on the hub"),
        ("a--b/c", None, "'a--b/c' can be no model on the hub"),
    ],
)
def test_unknown_models(hub: Hub, name: str, revision: str | None, says: str) -> None:
    with pytest.raises(ModelNotFoundError, match=says):
        pull(name, revision)
    assert not cached_models()


def test_a_gated_model(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    for token in ("", "hf_wrong"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(ModelNotFoundError, match=rf"licence to be accepted: do so at {hub.url}/org/tiny"):
            pull(NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert_whole(pull(NAME).path)


def test_the_token_is_for_the_hub_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files come from another host, which must not see it."""
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    pull(NAME)
    store = [one for one in hub.requests if one.path.startswith("/store/")]
    assert store and all(one.host.startswith("localhost") and not one.token for one in store)
    assert all(one.token for one in hub.requests if one not in store)


def test_a_token_that_is_not_accepted(hub: Hub) -> None:
    hub.troubles["api"] = [Refusal(403)]
    with pytest.raises(DownloadError, match=r"does not let you fetch org/tiny \(403\): log in"):
        pull(NAME)


def test_other_kinds_are_refused_before_their_weights_come(hub: Hub) -> None:
    hub.add("org/llama", {**tiny_model(), "config.json": b'{"model_type": "llama"}'}, large=SHARDS)
    with pytest.raises(CheckpointError, match="of the kind 'llama'"):
        find_model("org/llama")
    assert not hub.asked("GET", ".safetensors") and not cached_models()
    for files, says in [({"README.md": b""}, "no config.json"), ({"config.json": b"{}"}, "no safetensors")]:
        hub.add("org/other", files)
        with pytest.raises(CheckpointError, match=says):
            pull("org/other")


def test_names_and_hashes_from_outside_are_no_paths(hub: Hub) -> None:
    repo = hub.add("org/evil", {**tiny_model(), "..\\up.json": b"{}", "../up.json": b"{}"}, large=SHARDS)
    assert pull("org/evil").path.is_dir()
    repo.digests["config.json"] = "../../../evil"
    with pytest.raises(DownloadError, match="makes no sense"):
        pull("org/evil")


def test_no_room(hub: Hub, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    usage = shutil.disk_usage(cache.parent)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=256_000_000))
    with pytest.raises(DownloadError, match=r"no room .*: 80 kB are to come, with 256 MB to spare, but 256 MB are"):
        pull(NAME)
    assert not hub.asked("GET", ".safetensors")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=257_000_000))
    pull(NAME)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=0))
    assert pull(NAME).fetched == 0, "nothing is needed any more"


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "is full: make room, and dgchat pull org/tiny goes on"),
        (errno.EROFS, "cannot be written .*: set HF_HOME"),
        (errno.EACCES, "cannot be written .*: set HF_HOME"),
        (errno.EIO, "cannot be kept in"),
    ],
)
def test_a_disk_that_refuses(hub: Hub, monkeypatch: pytest.MonkeyPatch, number: int, says: str) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(DownloadError, match=says):
        pull(NAME)


def test_a_read_only_cache(hub: Hub, cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o500)
    try:
        (cache / "probe").mkdir()
        pytest.skip("who runs the tests may write everywhere")
    except PermissionError:
        with pytest.raises(DownloadError, match="cannot be written"):
            pull(NAME)
    finally:
        cache.chmod(0o700)


def test_a_cache_that_is_no_folder(hub: Hub, cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(DownloadError, match="cannot be kept in"):
        pull(NAME)
    assert cached_models() == []


def test_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(DownloadError, match=r"cannot be reached \(Connection refused\): check the network"):
            pull(NAME)


def test_switched_off(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    pull(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        pull(NAME)
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE is set: unset it"):
        find_model("org/other")
    assert find_model(NAME, offline=True) == find_model(NAME) and not hub.requests


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"[]", b"{}", b'{"sha": "../x", "siblings": []}'])
def test_an_answer_that_is_not_the_hubs(hub: Hub, body: bytes) -> None:
    hub.troubles["api"] = [Instead(body)]
    with pytest.raises(DownloadError, match=r"makes no sense .*: check HF_ENDPOINT"):
        pull(NAME)


def test_one_at_a_time(hub: Hub) -> None:
    name = parse(NAME)
    assert name is not None
    pull(NAME)
    with lock(name):
        for call in (pull, remove):
            with pytest.raises(DownloadError, match="Another dgchat is just fetching or removing org/tiny"):
                call(NAME)
    assert remove(NAME)


def test_what_progress_raises_ends_it(hub: Hub) -> None:
    class Enough(Exception):
        pass

    def report(transfer: Transfer) -> None:
        if transfer.done > 30_000:
            raise Enough

    hub.troubles[SHARDS[0]] = [Slow(chunk=4_000, pause=0.02)]
    with pytest.raises(Enough):
        pull(NAME, progress=report)
    with pytest.raises(ModelNotFoundError, match="goes on"):
        find(NAME)
    assert_whole(pull(NAME).path)


# what is here


def test_what_the_cache_holds(hub: Hub, cache: Path) -> None:
    assert cached_models() == []
    pulled = pull(NAME)
    hub.add("org/half", tiny_model(seed=3), large=SHARDS)
    hub.troubles[SHARDS[0]], hub.lasting = [Cut(after=20_000), Cut(after=0)], True
    with pytest.raises(DownloadError):
        pull("org/half")
    (cache / "models--else--bert" / "snapshots" / COMMIT).mkdir(parents=True)
    (cache / "models--else--bert" / "snapshots" / COMMIT / "config.json").write_text('{"model_type": "bert"}')
    half, whole = cached_models()
    assert (half.repo, half.state) == ("org/half", State.PARTIAL) and 20_000 <= half.done < half.total
    assert (whole.repo, whole.state, whole.commit, whole.path) == (NAME, State.WHOLE, COMMIT, pulled.path)
    assert whole.done == whole.total == pulled.bytes <= whole.disk_bytes < pulled.bytes + 5_000


def test_a_model_is_removed(hub: Hub, cache: Path) -> None:
    pulled = pull(NAME)
    assert pulled.bytes <= remove(NAME) < pulled.bytes + 5_000
    assert not pulled.path.exists() and cached_models() == []
    for name in (NAME, "org/never", "pocket", f"{NAME}@main"):
        with pytest.raises(ModelNotFoundError, match=r"no model .* in the hub's cache"):
            remove(name)
    (cache / "models--else--bert").mkdir()
    with pytest.raises(ModelNotFoundError, match="no DiffusionGemma model"):
        remove("else/bert")
    assert (cache / "models--else--bert").is_dir()


def test_a_damaged_manifest_counts_as_none(hub: Hub) -> None:
    pulled = pull(NAME)
    (manifest,) = (folder_of(NAME) / "dgchat").glob("*.json")
    good = json.loads(manifest.read_text())
    for text in ("", "[]", "{", json.dumps({**good, "files": [{"name": "../x", "size": 1, "digest": "0" * 40}]})):
        manifest.write_text(text)
        assert find(NAME) == pulled.path, "whole by itself"
        assert pull(NAME).fetched == 0


def test_a_snapshot_without_manifest_is_looked_at(hub: Hub) -> None:
    pulled = pull(NAME)
    shutil.rmtree(folder_of(NAME) / "dgchat")
    assert find(NAME) == pulled.path
    shard, index = (pulled.path / SHARDS[1]).resolve(), (pulled.path / "model.safetensors.index.json").resolve()
    data, listed = shard.read_bytes(), index.read_text()
    for spoilt in (b"", data[:7], data[:40], data[:-1], data + b"!", b"\xff" * 8 + data[8:], b"\2" + bytes(7) + b"[]"):
        shard.write_bytes(spoilt)
        assert look_state() is State.PARTIAL
    shard.write_bytes(data)
    for text in ("", "{}", '{"weight_map": {}}', '{"weight_map": []}', '{"weight_map": {"a": "model-3.safetensors"}}'):
        index.write_text(text)
        assert look_state() is State.PARTIAL
    index.write_text(listed)
    assert look_state() is State.WHOLE
    (pulled.path / "config.json").unlink()
    assert look_state() is State.PARTIAL


def look_state() -> State | None:
    name = parse(NAME)
    assert name is not None
    found = look(name)
    return found.state if found else None


def test_one_file_without_an_index_is_whole(hub: Hub) -> None:
    files = {"config.json": tiny_model()["config.json"], "model.safetensors": WEIGHTS}
    hub.add("org/single", files, large=("model.safetensors",))
    path = Path(huggingface_hub.snapshot_download("org/single"))
    assert find("org/single") == path
    (path / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="Only a part of the model org/single is here: dgchat pull"):
        find("org/single")


# names and numbers


def test_known_models_have_short_names() -> None:
    assert dghub.DEFAULT.repo == "nvidia/diffusiongemma-26B-A4B-it-NVFP4"
    assert len({model.short for model in KNOWN}) == len({model.repo for model in KNOWN}) == len(KNOWN)
    for model in KNOWN:
        name = parse(model.short)
        assert name is not None and (name.repo, name.full) == (model.repo, model.short)
        assert dghub.known(model.repo) is dghub.known(model.short) is model


@pytest.mark.parametrize(
    "name", ["", "nvfp4@", "@v1", "fox", "./a/b", "/a/b", "a/b/c", "a/b@..", "a/b@/etc", "a/b@x/.y"]
)
def test_what_is_no_name(name: str) -> None:
    assert parse(name) is None


def test_revisions_in_names() -> None:
    name = parse("org/name@refs/pr/1", revision="v2")
    assert name is not None and (name.given, name.repo, name.revision) == ("org/name", "org/name", "refs/pr/1")
    assert parse("fp8", "v2") == dghub.HubName("fp8", "RedHatAI/diffusiongemma-26B-A4B-it-FP8-dynamic", "v2")


@given(st.text(max_size=20))
def test_a_name_from_anywhere_stays_in_the_cache(text: str) -> None:
    for name in (parse(f"org/{text}"), parse(f"{text}/x"), parse(f"org/x@{text}")):
        if name is not None:
            assert "/" not in folder_of(name.repo).name and ".." not in (name.revision or "").split("/")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", ".hidden", "a\0b", "a b"])
def test_a_file_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="no file of a model"):
        ModelFile(name, 1, "0" * 40)


def test_amounts_read_well() -> None:
    assert [amount(size) for size in (0, 812, 999_600, 3_100_000, 999_900_000, 18_820_000_000)] == [
        "0 bytes", "812 bytes", "1 MB", "3 MB", "1.0 GB", "18.8 GB",
    ]  # fmt: skip
    assert share(7_100_000_000, 18_820_000_000) == "7.1 of 18.8 GB"
    assert share(812, 18_820_000_000) == "812 bytes of 18.8 GB"
    assert [duration(seconds) for seconds in (0, 99, 100, 3580, 3600, 3900)] == [
        "0 s", "99 s", "2 min", "1 h 0 min", "1 h 0 min", "1 h 5 min",
    ]  # fmt: skip


def test_the_speed_is_that_of_the_last_seconds() -> None:
    now = [0.0]
    meter = Meter(total=1000, done=100, clock=lambda: now[0])
    assert meter.read() == Transfer("download", 100, 1000, None, None)
    for _ in range(20):
        now[0] += 1.0
        meter.fetch(10)
        last = meter.read()
    assert last == Transfer("download", 300, 1000, 10.0, 70.0)
    now[0] += 11.0
    meter.fetch(590)
    meter.lose(600)
    assert meter.read().done == 290
    meter.fetch(710)
    meter.compare(400)
    assert meter.read() == Transfer("check", 400, 1000, None, None)


def test_the_package_is_light() -> None:
    program = "import dgengine.hub, sys; print([name for name in ('torch', 'huggingface_hub') if name in sys.modules])"
    paths = [str(Path(__file__).parents[2] / "engine")]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}; {program}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
