"""The S3 store: its accounts and what they may do. Standard library only, so that any image can run it."""
