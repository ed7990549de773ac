"""A seeded generator of recommender traffic that knows the truth about what it wrote.

Here: the model of users, sessions and items, how events arrive (late, twice, broken), the files
they land in, and the truth that tests compare with. Not here: anything that reads a lake; this
package uses no library code but errors, so that its truth is independent of the code it checks.
"""
