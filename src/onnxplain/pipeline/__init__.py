"""From photos, rows and tokens to results: batches, threads, streams."""
