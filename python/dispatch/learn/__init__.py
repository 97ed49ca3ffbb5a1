"""`dispatch train` and `dispatch evaluate`: routers learned from scores, and what they are worth beside simpler ways to choose."""
