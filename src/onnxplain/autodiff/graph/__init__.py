"""The graph in memory: models read and written, nodes emitted, shapes inferred, what a rule sees of a node."""
