"""What one element of a shape is known to be: a number times names of dimensions; and arithmetic with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Product(NamedTuple):
    """A number times dimension names, which are in alphabetical order."""

    number: int
    names: tuple[str, ...] = ()


#: None stands for an element that is not known.
Element = Product | None
ZERO, ONE = Product(0), Product(1)


def times(a: Element, b: Element) -> Element:
    """Return a b."""
    if a is None or b is None:
        return None
    number = a.number * b.number
    return Product(number, tuple(sorted(a.names + b.names))) if number else ZERO


def over(a: Element, b: Element) -> Element:
    """Return a / b rounded down, for non-negative a and positive b; None unless it is exact or of numbers."""
    if a is None or b is None or b.number <= 0:
        return None
    names = list(a.names)
    for name in b.names:
        if name not in names:
            return None
        names.remove(name)
    exact = a.number % b.number == 0 or not a.names
    return Product(a.number // b.number, tuple(names)) if exact and a.number >= 0 else None


def plus(a: Element, b: Element) -> Element:
    """Return a + b where both have the same names, or one is zero."""
    if a is None or b is None:
        return None
    if a.names == b.names:
        total = a.number + b.number
        return Product(total, a.names) if total else ZERO
    return a if b.number == 0 else b if a.number == 0 else None


def minus(a: Element, b: Element) -> Element:
    """Return a - b where both have the same names, or b is zero."""
    if a is None or b is None:
        return None
    if a.names == b.names:
        rest = a.number - b.number
        return Product(rest, a.names) if rest else ZERO
    return a if b.number == 0 else None


def equal(a: Element, b: Element) -> Element:
    """Return 1 where a = b, 0 where they differ, None where a run decides; a dimension is never negative."""
    if a is None or b is None:
        return None
    if a == b:
        return ONE
    numbers = not a.names and not b.names
    negative = (not a.names and a.number < 0 <= b.number) or (not b.names and b.number < 0 <= a.number)
    return ZERO if numbers or negative else None


def wider(a: Element, b: Element) -> Element:
    """Return the extent that two extents broadcast to."""
    if a == ONE:
        return b
    if b in (ONE, a):
        return a
    return next((e for e in (a, b) if e is not None and not e.names and e.number > 1), None)


def product(elements: Sequence[Element]) -> Element:
    """Return the product of all elements."""
    result: Element = ONE
    for element in elements:
        result = times(result, element)
    return result


def as_numbers(elements: Sequence[Element] | None) -> list[int] | None:
    """Return the elements as numbers; None unless all of them are."""
    if elements is None:
        return None
    numbers = [e.number for e in elements if e is not None and not e.names]
    return numbers if len(numbers) == len(elements) else None
