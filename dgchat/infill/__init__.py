"""`dgchat infill`: spans of a file, or of text that is piped through, rewritten in place."""
