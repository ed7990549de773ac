"""The `headrace` command: one file per noun. Commands parse, call one library function, and show.

A noun file defines `register(app)`, imports heavy rooms inside its commands, and prints only through
`output`; `main.NOUNS` lists it. A command with much to show has a file of its own.
"""
