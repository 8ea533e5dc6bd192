"""What computer algebra raises on expressions that have no value, told from a fault of this package."""

from __future__ import annotations

import traceback
from pathlib import Path

FAILURES = (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError, RecursionError)
"""What sympy and the parser raise on what they cannot compute, whatever is asked of them."""
_HERE = Path(__file__).parents[1]


def is_ours(error: BaseException) -> bool:
    """Whether the error arose in a line of this package, which is to be mended, and not in computer algebra itself."""
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    return _HERE in Path(innermost.f_code.co_filename).parents and not isinstance(error, RecursionError)
