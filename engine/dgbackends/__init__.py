"""dgbackends: the engines that dgchat can talk to, behind one protocol.

The embedded engine is `dgengine`; the others are here, each in a module or package of its name: `transformers`, `vllm`
(a server over HTTP), `mlx`. All of them give the events of `dgengine.events`, and say what they can do
(`dgengine.capabilities`). Importing this package imports none of them.
"""
