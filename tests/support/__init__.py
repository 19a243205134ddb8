"""What the tests share: small models, cases of operators, checkers, oracles."""

from pathlib import Path

#: The top of the repository.
REPOSITORY = Path(__file__).resolve().parents[2]
