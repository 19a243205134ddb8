"""The package from source in other Pythons, and with the lowest versions that it declares: a smoke test in each."""
