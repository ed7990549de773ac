"""How a lake stands: what was computed from what, and what of it needs a person.

The only place that decides what a fault is; the command line and the pages read the facts in their
own ways and show what is decided here. What repairs something belongs into the room of what it
repairs.
"""
