"""What a model reads: columns by role, and Arrow columns as its numbers, ids and lists.

Training (`loading`) and scoring (`serving`) go by the same code; nothing here imports torch.
"""
