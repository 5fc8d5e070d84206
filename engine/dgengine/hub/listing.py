"""What the hub has of a model: asked once, before anything is fetched."""

from __future__ import annotations

from typing import Any

from dgengine.errors import CheckpointError
from dgengine.hub.catalogue import HubName, is_commit
from dgengine.hub.manifest import Manifest, ModelFile

# Configuration, tokenizer, chat template, weights and their index: never a pickle, never code.
_WANTED = (".json", ".jinja", ".safetensors")


def ask(name: HubName) -> Manifest:
    """The commit that the revision is at, and the files of it that are needed, with sizes and hashes.

    Raises:
        CheckpointError: it is no checkpoint of Hugging Face's format.
        Exception: whatever the hub's client raises; `sentences.explain` knows them.
    """
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=constants.ENDPOINT, library_name="dgchat")
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    try:
        info = api.model_info(name.repo, revision=name.revision or "main", files_metadata=True, timeout=timeout)
        files = tuple(_file(sibling) for sibling in info.siblings or () if _is_wanted(sibling.rfilename))
    except (LookupError, TypeError, AttributeError) as error:  # the client takes its form for granted
        raise ValueError("it is of another form") from error
    if not info.sha or not is_commit(info.sha):
        raise ValueError("it names no commit")
    names = {file.name for file in files}
    if "config.json" not in names:
        raise CheckpointError(f"The model {name.repo} has no config.json: it is no Hugging Face checkpoint.")
    if not any(file.endswith(".safetensors") for file in names):
        raise CheckpointError(f"The model {name.repo} has no safetensors files; other formats are not read.")
    return Manifest(info.sha, files)


def _is_wanted(name: str) -> bool:
    """Files in folders are of other formats, or of training."""
    return name.endswith(_WANTED) and "/" not in name and "\\" not in name and not name.startswith(".")


def _file(sibling: Any) -> ModelFile:
    if sibling.lfs:
        return ModelFile(sibling.rfilename, int(sibling.lfs.size), str(sibling.lfs.sha256))
    if sibling.size is None or sibling.blob_id is None:
        raise ValueError(f"it does not tell the size of {sibling.rfilename}")
    return ModelFile(sibling.rfilename, int(sibling.size), str(sibling.blob_id))
