"""The documentation: the site it becomes, and what its pages show."""
