# pyarrow ships no types; this says so once instead of at every line.
from typing import Any

def __getattr__(name: str) -> Any: ...
