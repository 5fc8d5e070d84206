"""Chats kept on disk: a SQLite database with a full-text index, and what can be made of it. Knows no screen."""
