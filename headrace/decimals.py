"""Decimals as columns of a table hold them: exactly, or not at all."""

from decimal import Context, Decimal, InvalidOperation

DIGITS_MAX = 76  # of a decimal that Arrow holds; Python's own context keeps 28
EXACTLY = Context(prec=DIGITS_MAX)


def rescaled(value: Decimal | int, *, precision: int, scale: int) -> Decimal | None:
    """Return the same number with `scale` digits behind the point; zero has no sign.

    Returns:
        None if it has more digits behind the point, more than `precision` in all, or is not finite.

    """
    number = Decimal(value)
    try:
        found = number.quantize(Decimal(1).scaleb(-scale), context=EXACTLY)
    except InvalidOperation:  # more digits than any column has, or infinite
        return None
    held = found == number and len(found.as_tuple().digits) <= precision
    return (found or found.copy_abs()) if held else None
