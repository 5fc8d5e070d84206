"""Models of the Hugging Face hub: which are known, what the cache holds of them, and how to fetch one.

    from dgengine import hub

    pulled = hub.pull("nvfp4", progress=lambda transfer: print(transfer.done, transfer.total))
    hub.find("nvfp4")             # its directory, without the network
    hub.remove("nvfp4")

The cache is the hub's own ($HF_HOME/hub), in its documented layout: what is fetched here serves transformers, and the
other way round. HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE and proxies hold as they do for every user of `huggingface_hub`.
Importing this package imports neither `huggingface_hub` nor torch.
"""

from dgengine.hub.amounts import amount, duration, share
from dgengine.hub.cache import CachedModel, State, cached_models, find, removable, remove, root
from dgengine.hub.catalogue import DEFAULT, KNOWN, HubName, KnownModel, known, parse
from dgengine.hub.meter import Transfer
from dgengine.hub.pulling import Pulled, locate, pull

__all__ = [
    "DEFAULT",
    "KNOWN",
    "CachedModel",
    "HubName",
    "KnownModel",
    "Pulled",
    "State",
    "Transfer",
    "amount",
    "cached_models",
    "duration",
    "find",
    "known",
    "locate",
    "parse",
    "pull",
    "removable",
    "remove",
    "root",
    "share",
]
