"""Files: written whole or not at all, read with checks, and never through links that nlhf did not make."""
