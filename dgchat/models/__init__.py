"""`dgchat pull`, `dgchat models` and `dgchat rm`: the models of the hub on this machine."""
