"""After the walk: how the gradient is written, for every file and then for a runtime. One rewrite a file; ``order`` runs them."""
