"""The steps of an answer, kept: what the player and the inspector show. Knows no screen and no model."""
