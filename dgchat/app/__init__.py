"""The full-screen app, in Textual."""
