"""Answers on the command line: as text, JSON or events, or resolving in place below the prompt."""
