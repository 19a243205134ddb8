"""Damaged files from strangers: models, pictures, sidecars and metadata, tried in processes with limits."""
