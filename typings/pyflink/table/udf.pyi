# PyFlink is in an environment of its own, with types of other versions of pandas and numpy.
from typing import Any

def __getattr__(name: str) -> Any: ...
