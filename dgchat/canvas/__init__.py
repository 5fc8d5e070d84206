"""The canvas as text: the state of each token, its look, and where it lies. Knows no terminal and no toolkit."""
