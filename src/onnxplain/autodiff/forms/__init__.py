"""After the walk: how the gradient is written, for every file and then for a runtime; ``order`` runs the rewrites."""
