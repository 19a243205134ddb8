"""Before the walk: any model in the one form that the walk reads. One preparation a file; ``order`` runs them."""
