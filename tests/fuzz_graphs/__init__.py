"""Random graphs from seeds, checked in every form against finite differences, and shrunk where they fail."""
