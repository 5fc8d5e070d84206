"""Images that go with a message: files, what is kept of them, and how they look in a terminal.

Pillow is imported when the first image comes.
"""
