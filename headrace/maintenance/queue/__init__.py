"""The queue of maintenance: actions, their order, and performing them."""
