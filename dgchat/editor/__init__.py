"""An editor whose selection the model rewrites in place: `dgchat edit FILE`, and any answer of the chat."""
