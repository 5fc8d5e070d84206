"""Images in a chat: files to pixels, pixels to soft tokens, and where these stand in a prompt.

Importing this package, `opening` or `spans` imports neither torch nor transformers; `opening` needs Pillow.
"""
