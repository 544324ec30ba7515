"""One file per revision. What is released never changes: a later change is a later file."""
