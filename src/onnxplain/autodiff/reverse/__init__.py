"""The engine: the table of rules, and the walk that applies them to a graph in reverse."""
