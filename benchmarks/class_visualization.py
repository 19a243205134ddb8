"""Class model visualisation: do pictures made with one classifier speak to others?

The classes were fixed before any picture of them was made: every 33rd class of ImageNet, so that nobody chose them.
Settings were tuned on ten others, every hundredth class.
"""

from __future__ import annotations

#: The thirty classes that are reported; no setting was chosen by looking at them.
REPORTED = tuple(range(16, 16 + 33 * 30, 33))

#: The ten classes that settings were chosen by.
TUNED = tuple(range(5, 1000, 100))

assert not set(REPORTED) & set(TUNED)
